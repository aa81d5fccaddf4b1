/* Uses libbitcode as a C program would: calls ADDRESS ADD_ONE COUNT LIBRARY, the first two an archive each, the last a library of both.
   Says what went wrong, and where. */

#include "bitcode.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                                         \
    do {                                                                                                         \
        if (!(condition)) {                                                                                      \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                       \
            exit(1);                                                                                             \
        }                                                                                                        \
    } while (0)

static const bc_limits minute = {60000, 1, 0};
static const bc_limits moment = {50, 1, 0};
static const bc_limits no_hops = {0, 0, 0};
static const bc_limits much = {0, 1, 65536};

static unsigned char *read_file(const char *path, size_t *len)
{
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL);
    CHECK(fseek(file, 0, SEEK_END) == 0);
    *len = (size_t)ftell(file);
    rewind(file);
    unsigned char *bytes = malloc(*len);
    CHECK(fread(bytes, 1, *len, file) == *len);
    fclose(file);
    return bytes;
}

static bc_code *load(bc_client *client, const char *path, uint8_t id[32])
{
    size_t len;
    unsigned char *bytes = read_file(path, &len);
    uint8_t hash[32];
    CHECK(bc_hash(bytes, len, hash) == BC_OK);
    bc_code *code = NULL;
    bc_error *error = NULL;
    CHECK(bc_code_new(client, bytes, len, id, &code, &error) == BC_OK && error == NULL);
    CHECK(memcmp(hash, id, 32) == 0);
    free(bytes); /* The library has its own copy. */
    return code;
}

static atomic_int notified;

static void notify(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
}

static void bad_arguments(bc_client *client, bc_session *session, bc_code *code)
{
    bc_error *error = NULL;
    bc_session *none = NULL;
    bc_code *no_code = NULL;
    uint8_t byte = 0;
    size_t len = 0;
    bc_pending *pending = (bc_pending *)&byte;
    bc_segment at_null = {NULL, 8};
    CHECK(bc_connect(NULL, "127.0.0.1:1", NULL, 0, 0, &none, &error) == BC_E_BAD_ARGUMENT);
    CHECK(bc_error_code(error) == BC_E_BAD_ARGUMENT && strlen(bc_error_message(error)) > 0);
    bc_error_free(error);
    CHECK(bc_connect(client, NULL, NULL, 0, 0, &none, NULL) == BC_E_BAD_ARGUMENT && none == NULL);
    CHECK(bc_connect(client, "\xFF\xFE", NULL, 0, 0, &none, NULL) == BC_E_BAD_ARGUMENT);
    CHECK(bc_connect(client, "127.0.0.1:1", NULL, 5, 0, &none, NULL) == BC_E_BAD_ARGUMENT);
    CHECK(bc_connect(client, "127.0.0.1:1", NULL, 0, 0, NULL, NULL) == BC_E_BAD_ARGUMENT);
    /* A handle of another type is noticed. */
    CHECK(bc_connect((bc_client *)session, "127.0.0.1:1", NULL, 0, 0, &none, NULL) == BC_E_BAD_ARGUMENT);
    CHECK(bc_client_new("no such transport", &client, NULL) == BC_E_BAD_ARGUMENT);
    CHECK(bc_code_new(client, (const uint8_t *)"garbage", 7, NULL, &no_code, &error) == BC_E_BAD_ARGUMENT);
    CHECK(strstr(bc_error_message(error), "archive") != NULL);
    bc_error_free(error);
    CHECK(bc_code_new(client, NULL, 7, NULL, &no_code, NULL) == BC_E_BAD_ARGUMENT);
    CHECK(bc_hash(NULL, 1, &byte) == BC_E_BAD_ARGUMENT && bc_hash(&byte, 1, NULL) == BC_E_BAD_ARGUMENT);
    CHECK(bc_call(NULL, code, NULL, 0, 0, NULL, 0, NULL, 0, &len, &pending) == BC_E_BAD_ARGUMENT && pending == NULL);
    CHECK(bc_call(session, NULL, NULL, 0, 0, NULL, 0, NULL, 0, &len, &pending) == BC_E_BAD_ARGUMENT);
    CHECK(bc_call(session, code, NULL, 3, 0, NULL, 0, NULL, 0, &len, &pending) == BC_E_BAD_ARGUMENT);
    CHECK(bc_call(session, code, &at_null, 1, 0, NULL, 0, NULL, 0, &len, &pending) == BC_E_BAD_ARGUMENT);
    CHECK(bc_call(session, code, NULL, 0, 0, &no_hops, 0, NULL, 0, &len, &pending) == BC_E_BAD_ARGUMENT);
    CHECK(bc_call(session, code, NULL, 0, 0, &much, 0, NULL, 0, &len, &pending) == BC_E_BAD_ARGUMENT);
    CHECK(bc_call(session, code, NULL, 0, 64, NULL, 0, NULL, 0, &len, &pending) == BC_E_BAD_ARGUMENT);
    CHECK(bc_call(session, code, NULL, 0, 0, NULL, 0, NULL, 8, &len, &pending) == BC_E_BAD_ARGUMENT);
    CHECK(bc_call(session, code, NULL, 0, 0, NULL, 0, NULL, 0, NULL, &pending) == BC_E_BAD_ARGUMENT);
    CHECK(bc_call_state(NULL) == BC_E_BAD_ARGUMENT && bc_call_wait(NULL, 1) == BC_E_BAD_ARGUMENT);
    CHECK(bc_call_notify(NULL, notify, NULL) == BC_E_BAD_ARGUMENT);
    CHECK(bc_call_error(NULL, NULL) == NULL && bc_call_free(NULL) == BC_OK);
    CHECK(bc_session_is_open(NULL) == BC_E_BAD_ARGUMENT && bc_session_close(NULL) == BC_E_BAD_ARGUMENT);
    CHECK(bc_session_info(NULL) == NULL && bc_session_stats(NULL) == NULL && bc_client_transport(NULL) == NULL);
    CHECK(bc_error_code(NULL) == 0 && strcmp(bc_error_message(NULL), "") == 0);
    bc_error_free(NULL), bc_client_free(NULL), bc_session_free(NULL), bc_code_free(NULL), bc_string_free(NULL);
}

static void loaded(bc_client *client, bc_session *session, const char *alone, const char *library)
{
    bc_code *code = NULL;
    bc_error *error = NULL;
    int64_t word = 41, result = 0;
    bc_segment payload = {&word, 8};
    size_t len = 0;
    bc_pending *pending = NULL;
    CHECK(bc_code_load(client, library, "add one", &code, &error) == BC_OK && error == NULL);
    CHECK(bc_call(session, code, &payload, 1, 0, 0, 10000000000u, (uint8_t *)&result, 8, &len, &pending) == BC_VALUE);
    CHECK(pending == NULL && result == 42);
    bc_code_free(code);
    CHECK(bc_code_load(client, alone, NULL, &code, NULL) == BC_OK);
    bc_code_free(code);
    code = NULL;
    CHECK(bc_code_load(client, library, NULL, &code, &error) == BC_E_BAD_ARGUMENT && code == NULL);
    CHECK(strstr(bc_error_message(error), "add one, count") != NULL);
    bc_error_free(error);
    CHECK(bc_code_load(client, library, "nothing", &code, &error) == BC_E_BAD_ARGUMENT);
    CHECK(strstr(bc_error_message(error), "no function `nothing`") != NULL);
    bc_error_free(error);
    CHECK(bc_code_load(client, "no such file", "add one", &code, &error) == BC_E_BAD_ARGUMENT);
    CHECK(strstr(bc_error_message(error), "no such file") != NULL);
    bc_error_free(error);
    CHECK(bc_code_load(client, NULL, "add one", &code, NULL) == BC_E_BAD_ARGUMENT);
    CHECK(bc_code_load(NULL, library, "add one", &code, NULL) == BC_E_BAD_ARGUMENT);
    CHECK(bc_code_load(client, library, "add one", NULL, NULL) == BC_E_BAD_ARGUMENT);
}

static void refused(bc_client *client, const char *address)
{
    bc_session *session = NULL;
    bc_error *error = NULL;
    CHECK(bc_connect(client, address, (const uint8_t *)"a key that it has not", 21, 0, &session, &error) == BC_E_KEY_REQUIRED);
    CHECK(session == NULL && strstr(bc_error_message(error), "key") != NULL);
    bc_error_free(error);
    CHECK(bc_connect(client, "127.0.0.1:1", NULL, 0, 1000, &session, &error) == BC_E_CONNECT_REFUSED);
    bc_error_free(error);
}

static void fused(bc_session *session, bc_code *code)
{
    for (int64_t i = 0; i < 1000; i++) {
        /* The payload may come in pieces, empty ones among them. */
        bc_segment pieces[3] = {{&i, 3}, {NULL, 0}, {(const char *)&i + 3, 5}};
        int64_t result = 0;
        size_t len = 0;
        bc_pending *pending = NULL;
        int32_t state = bc_call(session, code, pieces, 3, 0, NULL, 10000000000u, (uint8_t *)&result, sizeof result, &len, &pending);
        CHECK(state == BC_VALUE && pending == NULL && len == 8 && result == i + 1);
    }
}

static void larger_than_expected(bc_session *session, bc_code *code)
{
    int64_t one = 1;
    bc_segment payload = {&one, sizeof one};
    size_t len = 0;
    bc_pending *pending = NULL;
    CHECK(bc_call(session, code, &payload, 1, 0, NULL, 10000000000u, NULL, 0, &len, &pending) == BC_VALUE);
    CHECK(pending != NULL && len == 8);
    const uint8_t *bytes = NULL;
    CHECK(bc_call_result(pending, &bytes, &len) == BC_OK && len == 8 && (uintptr_t)bytes % 64 == 0);
    CHECK(memcmp(bytes, &(int64_t){2}, 8) == 0);
    int32_t code_of_error = 99;
    CHECK(bc_call_error(pending, &code_of_error) == NULL && code_of_error == 99);
    bc_timings timings;
    CHECK(bc_call_timings(pending, &timings) == BC_OK && timings.archive_sent == 0);
    CHECK(bc_call_free(pending) == BC_OK);
}

/* Whoever has no place for a result gets a handle, also when the answer is quick and has no bytes. */
static void without_result(bc_session *session, bc_code *code)
{
    int64_t one = 1;
    bc_segment payload = {&one, sizeof one};
    size_t len = 99;
    bc_pending *pending = NULL;
    CHECK(bc_call(session, code, &payload, 1, BC_NO_RESULT, 0, 10000000000u, NULL, 0, &len, &pending) == BC_VALUE);
    CHECK(pending != NULL && len == 0);
    const uint8_t *bytes = NULL;
    CHECK(bc_call_result(pending, &bytes, &len) == BC_OK && len == 0);
    CHECK(bc_call_free(pending) == BC_OK);
}

static void later(bc_session *session, bc_code *code)
{
    enum { CALLS = 64 };
    int64_t words[CALLS];
    bc_pending *pending[CALLS];
    for (int64_t i = 0; i < CALLS; i++) {
        words[i] = i;
        bc_segment payload = {&words[i], 8};
        size_t len = 0;
        CHECK(bc_call(session, code, &payload, 1, 0, &minute, 0, NULL, 0, &len, &pending[i]) >= 0);
        CHECK(pending[i] != NULL);
        CHECK(bc_call_notify(pending[i], notify, &notified) == BC_OK);
    }
    for (int64_t i = 0; i < CALLS; i++) {
        CHECK(bc_call_wait(pending[i], UINT64_MAX) == BC_VALUE && bc_call_state(pending[i]) == BC_VALUE);
        const uint8_t *bytes = NULL;
        size_t len = 0;
        CHECK(bc_call_result(pending[i], &bytes, &len) == BC_OK && len == 8);
        CHECK(memcmp(bytes, &(int64_t){i + 1}, 8) == 0);
        CHECK(bc_call_free(pending[i]) == BC_OK);
    }
    CHECK(atomic_load(&notified) == CALLS);
}

static void never(bc_session *session, bc_code *count)
{
    int64_t for_ever = -1;
    bc_segment payload = {&for_ever, 8};
    size_t len = 0;
    bc_pending *pending = NULL;
    CHECK(bc_call(session, count, &payload, 1, 0, NULL, 1000000, NULL, 0, &len, &pending) == BC_PENDING);
    const uint8_t *bytes = NULL;
    CHECK(bc_call_result(pending, &bytes, &len) == BC_E_BAD_ARGUMENT);
    bc_timings timings;
    CHECK(bc_call_timings(pending, &timings) == BC_E_BAD_ARGUMENT);
    CHECK(bc_call_wait(pending, 1000000) == BC_PENDING);
    CHECK(bc_call_notify(pending, notify, &notified) == BC_OK);
    CHECK(bc_call_notify(pending, notify, &notified) == BC_E_BAD_ARGUMENT);
    int before = atomic_load(&notified);
    CHECK(bc_call_free(pending) == BC_OK);

    CHECK(bc_call(session, count, &payload, 1, 0, &moment, 0, NULL, 0, &len, &pending) == BC_PENDING);
    CHECK(bc_call_wait(pending, UINT64_MAX) == BC_ERROR);
    int32_t code = 0;
    CHECK(bc_call_error(pending, &code) != NULL && code == BC_E_TIMEOUT);
    CHECK(bc_call_free(pending) == BC_OK);

    CHECK(bc_call(session, count, &payload, 1, 0, NULL, 0, NULL, 0, &len, &pending) == BC_PENDING);
    CHECK(bc_session_is_open(session) == 1 && bc_session_close(session) == BC_OK && bc_session_close(session) == BC_OK);
    CHECK(bc_session_is_open(session) == 0 && bc_call_state(pending) == BC_ERROR);
    const char *message = bc_call_error(pending, &code);
    CHECK(message != NULL && strstr(message, "closed") != NULL && code == BC_E_SESSION_CLOSED);
    CHECK(bc_call_free(pending) == BC_OK);
    CHECK(atomic_load(&notified) == before);

    /* What cannot be sent is a call, too, and says why. */
    CHECK(bc_call(session, count, &payload, 1, 0, NULL, 0, NULL, 0, &len, &pending) == BC_E_SESSION_CLOSED);
    CHECK(pending != NULL && bc_call_state(pending) == BC_ERROR && bc_call_wait(pending, UINT64_MAX) == BC_ERROR);
    CHECK(bc_call_error(pending, &code) != NULL && code == BC_E_SESSION_CLOSED);
    CHECK(bc_call_notify(pending, notify, &notified) == BC_OK && atomic_load(&notified) == before + 1);
    CHECK(bc_call_free(pending) == BC_OK);
}

int main(int argc, char **argv)
{
    CHECK(argc == 5);
    CHECK(bc_abi_version() == BC_ABI_VERSION);
    CHECK(strchr(bc_version(), '.') != NULL);
    bc_client *client = NULL;
    bc_error *error = NULL;
    int32_t status = bc_client_new("shm", &client, &error);
    if (status != BC_OK)
        fprintf(stderr, "%s\n", bc_error_message(error));
    CHECK(status == BC_OK && client != NULL && error == NULL);
    CHECK(strstr(bc_client_transport(client), "posix") != NULL);
    bc_session *session = NULL;
    status = bc_connect(client, argv[1], NULL, 0, 0, &session, &error);
    if (status != BC_OK)
        fprintf(stderr, "%s\n", bc_error_message(error));
    CHECK(status == BC_OK && session != NULL && bc_session_is_open(session) == 1);
    const char *info = bc_session_info(session);
    CHECK(strstr(info, "\"pid\":") != NULL && strstr(info, "\"llvm\":\"19") != NULL && strstr(info, argv[1]) != NULL);
    uint8_t id[32], other[32];
    bc_code *add_one = load(client, argv[2], id);
    bc_code *count = load(client, argv[3], other);
    CHECK(memcmp(id, other, 32) != 0);
    bad_arguments(client, session, add_one);
    refused(client, argv[1]);
    fused(session, add_one);
    larger_than_expected(session, add_one);
    without_result(session, add_one);
    later(session, add_one);
    char *stats = bc_session_stats(session);
    CHECK(strstr(stats, "\"calls\":1066") != NULL && strstr(stats, "\"pending\":0") != NULL);
    CHECK(strstr(stats, "\"archives_sent\":1,") != NULL);
    bc_string_free(stats);
    loaded(client, session, argv[2], argv[4]);
    never(session, count);
    /* Handles may go in any order. */
    bc_client_free(client);
    CHECK(bc_session_is_open(session) == 0);
    bc_code_free(add_one);
    bc_session_free(session);
    bc_code_free(count);
    puts("all well");
    return 0;
}
