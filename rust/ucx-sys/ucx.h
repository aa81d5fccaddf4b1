/* What build.rs reads: UCP is the only layer of UCX that we call. */
#include <ucp/api/ucp.h>
#include <ucp/api/ucp_version.h>
