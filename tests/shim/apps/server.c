// One thread, one request per connection, a fixed port: compiled against musl, the other libc.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(9000)};
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 5)) {
        perror("bind");
        return 1;
    }
    // errno is libc's, and ours to set.
    errno = 0;
    if (bind(listener, (struct sockaddr *)&at, sizeof at) != -1 || errno != EINVAL) return 2;
    for (;;) {
        struct sockaddr_in peer, own;
        socklen_t peer_len = sizeof peer, own_len = sizeof own;
        int fd = accept(listener, (struct sockaddr *)&peer, &peer_len);
        if (fd < 0 || peer_len != sizeof peer) return 3;
        if (getsockname(fd, (struct sockaddr *)&own, &own_len)) return 4;
        char request[4096], body[256], answer[512], hosts[2][INET_ADDRSTRLEN];
        if (read(fd, request, sizeof request) <= 0) {
            close(fd);
            continue;
        }
        inet_ntop(AF_INET, &peer.sin_addr, hosts[0], sizeof hosts[0]);
        inet_ntop(AF_INET, &own.sin_addr, hosts[1], sizeof hosts[1]);
        int length = snprintf(body, sizeof body, "{\"pid\":%d,\"peer\":[\"%s\",%d],\"own\":[\"%s\",%d]}",
            getpid(), hosts[0], ntohs(peer.sin_port), hosts[1], ntohs(own.sin_port));
        length = snprintf(answer, sizeof answer,
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", length, body);
        if (write(fd, answer, length) != length) return 5;
        close(fd);
    }
}
