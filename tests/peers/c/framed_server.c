// Echoes framed messages, each client in its own thread.
//
//     cc -std=c11 -pthread -o framed_server framed_server.c
//     ./framed_server [PORT]            default 8888; 0 is any free port
//
// A frame is a length N (4 bytes, big endian), a kind (1 byte) and a payload.
// N counts the kind and the payload: 1 <= N <= 65536.
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_LENGTH = 65536, ECHO = 0x01, ECHO_REPLY = 0x81, ERROR = 0x7f };

struct client {
    int fd;
    size_t used, owed; // bytes of input and of output
    unsigned char input[4 + MAX_LENGTH]; // room for the largest frame
    // At worst, every 5 bytes are answered by an ERROR with 13 bytes.
    unsigned char output[(4 + MAX_LENGTH) / 5 * (5 + 13)];
};

static void append(struct client *c, int kind, const void *payload, size_t size)
{
    unsigned char *frame = c->output + c->owed;
    uint32_t length = htonl((uint32_t)(1 + size));
    memcpy(frame, &length, 4);
    frame[4] = (unsigned char)kind;
    memcpy(frame + 5, payload, size);
    c->owed += 5 + size;
}

// Answers all whole frames of the input; false after a bad length.
static bool reply(struct client *c)
{
    uint32_t length; // unsigned: with a sign, ff ff ff ff would be small
    size_t start = 0;
    for (; c->used - start >= 4; start += 4 + length) {
        unsigned char *frame = c->input + start;
        memcpy(&length, frame, 4); // a cast might read at an odd address
        length = ntohl(length);
        if (length == 0 || length > MAX_LENGTH) {
            append(c, ERROR, length ? "\1too long" : "\2length 0", 9);
            return false;
        }
        if (c->used - start < 4 + length)
            break; // more of it is on its way
        if (frame[4] == ECHO)
            append(c, ECHO_REPLY, frame + 5, length - 1);
        else
            append(c, ERROR, "\3unknown kind", 13);
    }
    c->used -= start;
    memmove(c->input, c->input + start, c->used);
    return true;
}

// Many replies, one write: send() seldom takes less than all.
static bool send_owed(struct client *c)
{
    ssize_t n;
    for (size_t sent = 0; sent < c->owed; sent += (size_t)n)
        if ((n = send(c->fd, c->output + sent, c->owed - sent, 0)) < 0)
            return false;
    c->owed = 0;
    return true;
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// A close with bytes unread sends RST, and the client may lose the ERROR.
// So we end our direction first, and discard for one second in all.
static void drain(struct client *c)
{
    struct pollfd readable = {.fd = c->fd, .events = POLLIN};
    int64_t left, end = now_ms() + 1000;
    shutdown(c->fd, SHUT_WR);
    while ((left = end - now_ms()) > 0 && poll(&readable, 1, (int)left) > 0 &&
           recv(c->fd, c->input, sizeof c->input, 0) > 0)
        continue;
}

static void *serve(void *argument)
{
    struct client *c = argument;
    bool in_step = true;
    ssize_t n;
    while (in_step && (n = recv(c->fd, c->input + c->used,
                                sizeof c->input - c->used, 0)) > 0) {
        c->used += (size_t)n;
        in_step = reply(c);
        if (!send_owed(c))
            break;
    }
    if (!in_step)
        drain(c);
    close(c->fd);
    free(c);
    return NULL;
}

int main(int argc, char **argv)
{
    long port = argc > 1 ? strtol(argv[1], NULL, 10) : 8888;
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)port),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr *bound = (struct sockaddr *)&addr;
    socklen_t size = sizeof addr;
    int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    signal(SIGPIPE, SIG_IGN); // writing to a client that is gone: only EPIPE
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, bound, size) < 0 || listen(listener, 1024) < 0 ||
        getsockname(listener, bound, &size) < 0) {
        fprintf(stderr, "cannot listen on 127.0.0.1:%ld: %s\n", port,
                strerror(errno));
        return 1;
    }
    printf("listening on 127.0.0.1:%d\n", ntohs(addr.sin_port));
    fflush(stdout);
    for (;;) {
        pthread_t thread;
        struct client *c = malloc(sizeof *c);
        if (c != NULL && (c->fd = accept(listener, NULL, NULL)) >= 0) {
            setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            c->used = c->owed = 0;
            int error = pthread_create(&thread, NULL, serve, c);
            if (error == 0) {
                pthread_detach(thread); // nobody will join it
                continue;
            }
            close(c->fd);
            errno = error;
        }
        perror("cannot accept");
        free(c);
        // It may stay so for a while: without a pause we would spin.
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
}
