/* A provider that costs next to nothing: one thread, HTTP/1.1, the same answer to every call.
 *
 * provider PORT: a body with "stream": true, in either spelling, gets EVENTS server-sent events, each a chunk of its own that is written in a
 * turn of its own, so that the events of calls that run together are mixed; any other call gets one JSON document. */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST = 4096, SIZE = 16384, EVENTS = 8 };

static const char *const EVENT =
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"model\":\"gpt-5-mini\",\"choices\":"
    "[{\"index\":0,\"delta\":{\"content\":\"hello \"},\"finish_reason\":null}]}\n\n";
static const char *const USAGE =
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"model\":\"gpt-5-mini\",\"choices\":[],"
    "\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":16,\"total_tokens\":27}}\n\n";
static const char *const DOCUMENT =
    "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"model\":\"gpt-5-mini\",\"choices\":[{\"index\":0,"
    "\"message\":{\"role\":\"assistant\",\"content\":\"hello\"},\"finish_reason\":\"stop\"}],"
    "\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":1,\"total_tokens\":12}}";

/* One connection. left: events still to be written; 0: none. */
struct one {
    char in[SIZE];
    int length, left, fd;
};

static struct one *all[MOST];
static int streaming[MOST], count;

static void say(int fd, const char *text, int length) {
    if (write(fd, text, (size_t)length) != length) shutdown(fd, SHUT_RDWR);
}

/* Answer the requests that are complete; returns whether the connection stays. */
static int answer(struct one *c) {
    char head[512], out[2048];
    while (!c->left) {
        c->in[c->length] = 0;
        char *end = strstr(c->in, "\r\n\r\n");
        if (!end) return c->length < SIZE - 1;
        char *length = strcasestr(c->in, "\r\ncontent-length:");
        int whole = (int)(end + 4 - c->in) + (length && length < end ? atoi(length + 17) : 0);
        if (whole >= SIZE) return 0;
        if (c->length < whole) return 1;
        char next = c->in[whole];
        c->in[whole] = 0;
        int is_stream = strstr(end, "\"stream\": true") || strstr(end, "\"stream\":true");
        c->in[whole] = next;
        c->length -= whole;
        memmove(c->in, c->in + whole, (size_t)c->length);
        if (is_stream) {
            say(c->fd, head, sprintf(head, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                                           "Date: Sat, 28 Nov 2026 12:00:00 GMT\r\nTransfer-Encoding: chunked\r\n\r\n"));
            c->left = EVENTS;
            streaming[count++] = c->fd;
        } else {
            int n = sprintf(out, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Sat, 28 Nov 2026 12:00:00 GMT\r\n"
                                 "Content-Length: %zu\r\n\r\n%s", strlen(DOCUMENT), DOCUMENT);
            say(c->fd, out, n);
        }
    }
    return 1;
}

static void drop(struct one *c) {
    close(c->fd);
    all[c->fd] = NULL;
    free(c);
}

static void stream(void) {
    char out[512];
    for (int i = 0; i < count;) {
        struct one *c = all[streaming[i]];
        if (c) {
            const char *text = c->left == 2 ? USAGE : c->left == 1 ? "data: [DONE]\n\n" : EVENT;
            const char *last = c->left == 1 ? "0\r\n\r\n" : "";
            say(c->fd, out, sprintf(out, "%zx\r\n%s\r\n%s", strlen(text), text, last));
            c->left--;
        }
        if (c && c->left) {
            i++;
            continue;
        }
        streaming[i] = streaming[--count];
        if (c && !answer(c)) drop(c);
    }
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    int on = 1, door = socket(AF_INET, SOCK_STREAM, 0), poll = epoll_create1(0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(door, (struct sockaddr *)&at, sizeof at) || listen(door, 1024)) return 1;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = door}, events[256];
    epoll_ctl(poll, EPOLL_CTL_ADD, door, &event);
    for (;;) {
        int n = epoll_wait(poll, events, 256, count ? 0 : -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == door) {
                fd = accept4(door, NULL, NULL, SOCK_NONBLOCK);
                if (fd < 0 || fd >= MOST) { close(fd); continue; }
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                all[fd] = calloc(1, sizeof *all[fd]);
                all[fd]->fd = fd;
                event.data.fd = fd;
                epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
                continue;
            }
            struct one *c = all[fd];
            if (!c) continue;
            ssize_t got = read(fd, c->in + c->length, (size_t)(SIZE - 1 - c->length));
            if (got > 0) c->length += (int)got;
            if (got <= 0 || !answer(c)) drop(c);
        }
        stream();
    }
}
