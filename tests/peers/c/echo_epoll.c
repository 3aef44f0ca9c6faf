// Echoes bytes or framed messages, to all clients in one thread with epoll:
// about the fastest that one thread can do with plain reads and writes.
//
//     cc -std=c11 -O2 -o echo_epoll echo_epoll.c
//     ./echo_epoll raw|frames [PORT]       default 8888; 0 is any free port
//
// A frame is a length N (4 bytes, big endian), a kind (1 byte) and a payload.
// N counts the kind and the payload: 1 <= N <= 65536.
#define _GNU_SOURCE // accept4
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_LENGTH = 65536, ECHO = 0x01, ECHO_REPLY = 0x81, ERROR = 0x7f };

struct bytes {
    unsigned char *start;
    size_t size;
};

struct client {
    int fd;
    bool is_refused;      // after a bad length: what it sends is discarded
    unsigned char *input; // its own buffer, while a part of a frame waits
    size_t part;          // the size of that part
    struct bytes owed;    // what the kernel had no room for
};

static int poller;
static unsigned char buffer[4 + MAX_LENGTH]; // all clients take turns with it

static void append(struct bytes *to, const unsigned char *from, size_t size)
{
    if (size == 0)
        return;
    to->start = realloc(to->start, to->size + size);
    if (to->start == NULL)
        abort(); // no memory is left
    memcpy(to->start + to->size, from, size);
    to->size += size;
}

static void forget(struct bytes *bytes)
{
    free(bytes->start);
    *bytes = (struct bytes){0};
}

static void end(struct client *c)
{
    close(c->fd); // epoll forgets it, too
    free(c->input);
    forget(&c->owed);
    free(c);
}

// Sends now what the kernel takes, and keeps the rest.
static bool put(struct client *c, const unsigned char *from, size_t size)
{
    ssize_t n = 0;
    if (size > 0 && c->owed.size == 0) {
        n = send(c->fd, from, size, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            return false;
        n = n < 0 ? 0 : n;
    }
    append(&c->owed, from + n, size - (size_t)n);
    return true;
}

static bool put_error(struct client *c, const char *text)
{
    unsigned char frame[64];
    uint32_t size = (uint32_t)strlen(text), length = htonl(1 + size);
    memcpy(frame, &length, 4);
    frame[4] = ERROR;
    memcpy(frame + 5, text, size);
    return put(c, frame, 5 + size);
}

// Keeps the part of a frame where its rest can be read behind it, so that a
// frame in many pieces is not copied with each of them.
static void keep(struct client *c, const unsigned char *from, size_t size)
{
    c->part = size;
    if (size == 0) {
        free(c->input);
        c->input = NULL;
        return;
    }
    if (c->input == NULL && (c->input = malloc(sizeof buffer)) == NULL)
        abort(); // no memory is left
    if (from != c->input)
        memmove(c->input, from, size);
}

// Answers all whole frames of the `size` bytes in `input`. An ECHO becomes its
// reply where it lies, so that replies need no copy, and a run of them needs
// one send.
static bool reply(struct client *c, unsigned char *input, size_t size)
{
    size_t start = 0, sent = 0;
    uint32_t length; // unsigned: with a sign, ff ff ff ff would be small
    for (; size - start >= 4; start += 4 + length) {
        unsigned char *frame = input + start;
        memcpy(&length, frame, 4); // a cast might read at an odd address
        length = ntohl(length);
        if (length == 0 || length > MAX_LENGTH) {
            c->is_refused = true;
            bool is_open = put(c, input + sent, start - sent) &&
                           put_error(c, length ? "\1too long" : "\2length 0");
            keep(c, input, 0);
            return is_open;
        }
        if (size - start < 4 + length)
            break; // more of it is on its way
        if (frame[4] == ECHO) {
            frame[4] = ECHO_REPLY;
        } else {
            if (!put(c, input + sent, start - sent) ||
                !put_error(c, "\3unknown kind"))
                return false;
            sent = start + 4 + length;
        }
    }
    bool is_open = put(c, input + sent, start - sent);
    keep(c, input + start, size - start);
    return is_open;
}

// Reads once, and answers. False: the connection has ended.
static bool receive(struct client *c, bool is_framed)
{
    unsigned char *input = c->input == NULL ? buffer : c->input;
    size_t part = c->part; // less than a frame, so there is room
    ssize_t n = recv(c->fd, input + part, sizeof buffer - part, 0);
    if (n <= 0)
        return n < 0 && errno == EAGAIN;
    if (c->is_refused)
        return true; // discarded, until the client has read why and closes
    return is_framed ? reply(c, input, part + (size_t)n)
                     : put(c, input, (size_t)n);
}

// Sends what is owed.
static bool send_owed(struct client *c)
{
    struct bytes owed = c->owed;
    c->owed = (struct bytes){0};
    bool is_open = put(c, owed.start, owed.size);
    forget(&owed);
    return is_open;
}

// Does what one event of a client asks for.
static void handle(struct client *c, bool is_framed)
{
    bool was_owed = c->owed.size > 0;
    if (!(was_owed ? send_owed(c) : receive(c, is_framed))) {
        end(c);
        return;
    }
    bool is_owed = c->owed.size > 0;
    // A close with bytes unread sends RST, and the client may lose the ERROR:
    // so FIN first. (A server for real clients waits a second, no longer.)
    if (c->is_refused && !is_owed)
        shutdown(c->fd, SHUT_WR);
    if (is_owed != was_owed) {
        // A client that does not read is not read from.
        struct epoll_event event = {.events = is_owed ? EPOLLOUT : EPOLLIN,
                                    .data.ptr = c};
        epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event);
    }
}

static void accept_one(int listener)
{
    int on = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    struct client *c = fd < 0 ? NULL : calloc(1, sizeof *c);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (c != NULL) {
        c->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) == 0)
            return;
        end(c);
    } else if (errno == EAGAIN || errno == ECONNABORTED) {
        return; // the client has given up
    }
    perror("cannot accept");
    // It may stay so for a while: without a pause we would spin.
    nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
}

static int listen_on(long port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)port),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr *bound = (struct sockaddr *)&addr;
    socklen_t size = sizeof addr;
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, bound, size) < 0 || listen(listener, 1024) < 0 ||
        getsockname(listener, bound, &size) < 0) {
        fprintf(stderr, "cannot listen on 127.0.0.1:%ld: %s\n", port,
                strerror(errno));
        exit(1);
    }
    printf("listening on 127.0.0.1:%d\n", ntohs(addr.sin_port));
    fflush(stdout);
    return listener;
}

int main(int argc, char **argv)
{
    bool is_framed = argc > 1 && strcmp(argv[1], "frames") == 0;
    if (!is_framed && (argc < 2 || strcmp(argv[1], "raw") != 0)) {
        fprintf(stderr, "usage: %s raw|frames [PORT]\n", argv[0]);
        return 2;
    }
    struct epoll_event events[1024], new_client = {.events = EPOLLIN};
    poller = epoll_create1(0);
    int listener = listen_on(argc > 2 ? strtol(argv[2], NULL, 10) : 8888);
    if (epoll_ctl(poller, EPOLL_CTL_ADD, listener, &new_client) < 0) {
        perror("cannot watch the listening socket with epoll");
        return 1;
    }
    for (;;) {
        int n = epoll_wait(poller, events, 1024, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == NULL)
                accept_one(listener);
            else
                handle(events[i].data.ptr, is_framed);
        }
    }
}
