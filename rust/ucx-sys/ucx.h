/* What build.rs reads: UCP, the layer of UCX that we call, and where UCX sends its log lines. */
#include <ucp/api/ucp.h>
#include <ucp/api/ucp_version.h>
#include <ucs/debug/log_def.h>
#include <stdio.h>
