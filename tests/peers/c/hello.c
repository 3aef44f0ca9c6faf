// Sends a greeting and prints what the server answers.
//
//     cc -o hello hello.c
//     ./hello [PORT]                               the default is 8888
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

int main(int argc, char **argv)
{
    const char *greeting = "Hello, Server!";
    size_t size = strlen(greeting), sent = 0;
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    addr.sin_port = htons((uint16_t)(argc > 1 ? atoi(argv[1]) : 8888));

    signal(SIGPIPE, SIG_IGN); // writing to a server that is gone: only EPIPE
    int connection = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(connection, (struct sockaddr *)&addr, sizeof addr) < 0)
        fail("cannot connect");
    while (sent < size) { // send() may take only a part
        ssize_t n = send(connection, greeting + sent, size - sent, 0);
        if (n < 0)
            fail("cannot send");
        sent += (size_t)n;
    }
    if (shutdown(connection, SHUT_WR) < 0) // FIN: that was all
        fail("cannot end the request");

    char buffer[1024];
    ssize_t n;
    while ((n = recv(connection, buffer, sizeof buffer, 0)) > 0)
        fwrite(buffer, 1, (size_t)n, stdout);
    if (n < 0) // and 0 means that the server has ended
        fail("cannot receive");
    close(connection);
    putchar('\n');
    return 0;
}
