/*
 * A program without Julia calls a Julia function on a node: smooth LIBRARY HOST:PORT
 *
 * LIBRARY is a file that `BitCode.save` wrote, with the function `smooth(::Vector{Float64}, ::Int64)`; examples/without_julia.jl makes one and
 * runs this. Build it with `cc smooth.c -I…/rust/ffi/include -L…/target/release -lbitcode`.
 *
 * How arguments and results lie in memory: docs/ABI.md, "Flat payloads".
 */

#include "bitcode.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the arguments `(::Vector{Float64}, ::Int64)` leave in the head of a payload. Elements lie behind it, at a multiple of 64. */
struct arguments {
    int64_t length; /* of the vector */
    int64_t place;  /* of its elements: bytes from the start of the payload */
    int64_t width;
};

/* What a result that is a vector begins with. */
struct vector {
    int64_t length;
    int64_t place;
};

enum { ELEMENTS = 64 };

static void check(int32_t status, bc_error *error)
{
    if (status == BC_OK)
        return;
    fprintf(stderr, "smooth: %s\n", bc_error_message(error));
    exit(1);
}

/* Waits for the call; the packed result lives as long as it. */
static const uint8_t *result_of(bc_pending *call, size_t *size)
{
    const uint8_t *bytes = NULL;
    switch (bc_call_wait(call, UINT64_MAX)) {
    case BC_VALUE:
        if (bc_call_result(call, &bytes, size) == BC_OK)
            return bytes;
        break;
    case BC_THROW:
        fprintf(stderr, "smooth: the function threw an exception\n");
        exit(1);
    default:
        break;
    }
    const char *message = bc_call_error(call, NULL);
    fprintf(stderr, "smooth: %s\n", message ? message : "no result");
    exit(1);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: smooth LIBRARY HOST:PORT\n");
        return 2;
    }
    bc_client *client = NULL;
    bc_session *session = NULL;
    bc_code *code = NULL;
    bc_error *error = NULL;
    check(bc_client_new("auto", &client, &error), error);
    check(bc_connect(client, argv[2], NULL, 0, 0, &session, &error), error);
    check(bc_code_load(client, argv[1], "smooth", &code, &error), error);

    const double signal[] = {1, 2, 3, 10, 3, 2, 1};
    const int64_t length = sizeof signal / sizeof *signal;
    const struct arguments head = {.length = length, .place = ELEMENTS, .width = 1};
    static const uint8_t zeros[ELEMENTS - sizeof head];
    /* The pieces go out from where they lie; they have to stay until the call is over. */
    const bc_segment payload[] = {{&head, sizeof head}, {zeros, sizeof zeros}, {signal, sizeof signal}};

    bc_pending *call = NULL;
    size_t size = 0;
    bc_call(session, code, payload, 3, 0, NULL, 0, NULL, 0, &size, &call);
    const uint8_t *bytes = result_of(call, &size);
    struct vector result;
    if (size < sizeof result)
        return 1;
    memcpy(&result, bytes, sizeof result);
    if (result.length != length || (size_t)result.place + sizeof signal > size)
        return 1;
    const double *smoothed = (const double *)(bytes + result.place);
    for (int64_t i = 0; i < result.length; i++)
        printf("%g%c", smoothed[i], i + 1 < result.length ? ' ' : '\n');

    bc_call_free(call);
    bc_code_free(code);
    bc_session_free(session);
    bc_client_free(client);
    return 0;
}
