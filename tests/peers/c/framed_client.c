// Sends each TEXT in a frame, and prints the replies, a line each.
//
//     cc -std=c11 -pthread -o framed_client framed_client.c
//     ./framed_client PORT [TEXT]...
//
// A frame is a length N (4 bytes, big endian), a kind (1 byte) and a payload.
// N counts the kind and the payload: 1 <= N <= 65536.
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { MAX_LENGTH = 65536, ECHO = 0x01, ECHO_REPLY = 0x81, ERROR = 0x7f };

static int connection;
static char **texts; // ends with NULL, as argv does

static void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    exit(1); // ends the thread that sends, too
}

// If it fails, replies will be missing, and main() says so.
static void *send_texts(void *unused)
{
    static unsigned char frame[4 + MAX_LENGTH];
    for (char **text = texts; *text != NULL; text++) {
        size_t size = strlen(*text), sent = 0;
        uint32_t length = htonl((uint32_t)(1 + size));
        memcpy(frame, &length, 4);
        frame[4] = ECHO;
        memcpy(frame + 5, *text, size);
        while (sent < 5 + size) { // send() may take only a part
            ssize_t n = send(connection, frame + sent, 5 + size - sent, 0);
            if (n < 0)
                return unused;
            sent += (size_t)n;
        }
    }
    shutdown(connection, SHUT_WR); // FIN: no more requests
    return unused;
}

static void print_reply(const unsigned char *body, size_t length)
{
    if (body[0] == ECHO_REPLY) {
        fwrite(body + 1, 1, length - 1, stdout);
        putchar('\n');
        if (fflush(stdout) != 0)
            fail("cannot print\n");
    } else if (body[0] == ERROR && length >= 2) {
        fail("the server answered with error %d\n", body[1]);
    } else {
        fail("the server sent the kind %02x\n", body[0]);
    }
}

int main(int argc, char **argv)
{
    if (argc < 2)
        fail("usage: framed_client PORT [TEXT]...\n");
    texts = argv + 2;
    for (char **text = texts; *text != NULL; text++)
        if (strlen(*text) > MAX_LENGTH - 1)
            fail("a TEXT has more than %d bytes\n", MAX_LENGTH - 1);
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    addr.sin_port = htons((uint16_t)strtol(argv[1], NULL, 10));
    signal(SIGPIPE, SIG_IGN); // writing to a server that is gone: only EPIPE
    connection = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(connection, (struct sockaddr *)&addr, sizeof addr) < 0) {
        fprintf(stderr, "127.0.0.1:%s: ", argv[1]);
        perror("cannot connect");
        return 1;
    }
    int on = 1, received = 0;
    setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);

    // A thread sends meanwhile. If nobody read the replies until all is sent,
    // the server could not write them, would stop reading, and all would wait.
    pthread_t sender;
    FILE *input = fdopen(connection, "r"); // fread() waits for all bytes
    if (input == NULL || pthread_create(&sender, NULL, send_texts, NULL) != 0)
        fail("out of memory or threads\n");
    pthread_detach(sender); // nobody will join it
    static unsigned char body[MAX_LENGTH];
    uint32_t length;
    size_t n;
    while ((n = fread(&length, 1, 4, input)) == 4) {
        length = ntohl(length);
        if (length == 0 || length > MAX_LENGTH)
            fail("the server sent the length %u\n", length);
        if (fread(body, 1, length, input) < length)
            fail("the server ended in the middle of a reply\n");
        if (received++ == argc - 2)
            fail("a reply to no message\n");
        print_reply(body, length);
    }
    if (n > 0 || ferror(input))
        fail("the connection broke, or ended in the middle of a reply\n");
    if (received < argc - 2)
        fail("%d replies to %d messages\n", received, argc - 2);
    return 0;
}
