/* Callers that cost next to nothing: one thread, each connection with one call after the other.
 *
 * caller PORT CONNECTIONS SECONDS < REQUEST: prints "calls failed seconds p50 p99", the latter in microseconds, of the
 * calls that were answered whole; failed: those that were not answered with 200. Ten `%` in a request stand for its number. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 1024, SIZE = 65536, REMEMBERED = 1 << 22 };

struct one {
    char in[SIZE + 1];
    int fd, length, whole; /* whole: bytes of the answer, -1 before its head is there, 0 if it comes in chunks */
    double begun;
};

static char request[8192];
static int request_length;
static char *number; /* in the request, where its number is; NULL: nowhere */
static long called;
static float taken[REMEMBERED];
static long calls, failed;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void stop(const char *why) {
    fprintf(stderr, "%s\n", why);
    exit(1);
}

static void call(struct one *c) {
    c->length = 0;
    c->whole = -1;
    c->begun = now();
    if (number) {
        char text[11];
        snprintf(text, sizeof text, "%010ld", called++);
        memcpy(number, text, 10);
    }
    if (write(c->fd, request, (size_t)request_length) != request_length) stop("a call could not be written");
}

/* Whether the answer is there. */
static int is_whole(struct one *c) {
    c->in[c->length] = 0;
    if (c->whole < 0) {
        char *end = strstr(c->in, "\r\n\r\n");
        if (!end) return 0;
        char *length = strcasestr(c->in, "\r\ncontent-length:");
        c->whole = length && length < end ? (int)(end + 4 - c->in) + atoi(length + 17) : 0;
    }
    if (c->whole) return c->length >= c->whole;
    return c->length > 7 && !memcmp(c->in + c->length - 7, "\r\n0\r\n\r\n", 7);
}

static int by_value(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    int connections = atoi(argv[2]), poll = epoll_create1(0), on = 1;
    double seconds = atof(argv[3]);
    request_length = (int)fread(request, 1, sizeof request, stdin);
    number = memmem(request, (size_t)request_length, "%%%%%%%%%%", 10);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    static struct one all[MOST];
    if (connections > MOST) return 2;
    for (int i = 0; i < connections; i++) {
        all[i].fd = socket(AF_INET, SOCK_STREAM, 0);
        setsockopt(all[i].fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (connect(all[i].fd, (struct sockaddr *)&at, sizeof at)) stop("no connection");
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[i]};
        epoll_ctl(poll, EPOLL_CTL_ADD, all[i].fd, &event);
    }
    double begun = now(), last = begun;
    int open = connections;
    for (int i = 0; i < connections; i++) call(&all[i]);
    while (open) {
        struct epoll_event events[256];
        int n = epoll_wait(poll, events, 256, 10000);
        if (n <= 0) stop("no answer for 10 s");
        for (int i = 0; i < n; i++) {
            struct one *c = events[i].data.ptr;
            ssize_t got = read(c->fd, c->in + c->length, (size_t)(SIZE - c->length));
            if (got <= 0) stop("a connection was closed in the middle of an answer");
            c->length += (int)got;
            if (!is_whole(c)) continue;
            last = now();
            failed += memcmp(c->in, "HTTP/1.1 200 ", 13) != 0;
            if (calls < REMEMBERED) taken[calls] = (float)((last - c->begun) * 1e6);
            calls++;
            if (last - begun < seconds) call(c);
            else open--;
        }
    }
    long kept = calls < REMEMBERED ? calls : REMEMBERED;
    qsort(taken, (size_t)kept, sizeof *taken, by_value);
    printf("%ld %ld %f %f %f\n", calls, failed, last - begun, (double)taken[kept / 2], (double)taken[kept * 99 / 100]);
    return 0;
}
