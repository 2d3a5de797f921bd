// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "http.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define HEAD_MAX  16384 /* bytes of an answer's head */
#define CHUNK_MAX 65536 /* bytes read from body_fd at once */

/* Fills only while bytes are wanted; `at` < `len` are read but not used yet. */
struct conn {
	int fd;
	char buf[HEAD_MAX];
	size_t at, len;
	const char *doubt; /* what a lost answer leaves open */
	struct gate_error *err;
};

struct head {
	int status;
	bool chunked;
	bool has_length;
	uint64_t length;
};

static int gone(struct conn *c)
{
	return gate_error_set(c->err, GATE_ERR_UNREACHABLE,
			      "gate25d went away in the middle of its answer%s", c->doubt);
}

static int garbage(struct conn *c, const char *what)
{
	return gate_error_set(c->err, GATE_ERR_FAILED,
			      "the answer is not of gate25's control API: %s", what);
}

/* ---- connecting and sending ---- */

static int connect_failed(const char *path, struct gate_error *err)
{
	if (errno == EACCES || errno == EPERM)
		return gate_error_set(err, GATE_ERR_DENIED,
				      "no permission to use %s; are you in the gate's group?",
				      path);
	if (errno == ENOENT || errno == ECONNREFUSED)
		return gate_error_set(err, GATE_ERR_UNREACHABLE,
				      "gate25d does not run (nobody listens on %s)", path);
	return gate_error_set(err, GATE_ERR_UNREACHABLE, "cannot reach gate25d on %s: %s", path,
			      strerror(errno));
}

static int open_socket(const char *path, int timeout_s, struct gate_error *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct timeval tv = { .tv_sec = timeout_s };
	int fd, ret;

	if (strlen(path) >= sizeof(addr.sun_path))
		return gate_error_set(err, GATE_ERR_USAGE, "the path of the socket is too long");
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return gate_error_set(err, GATE_ERR_FAILED, "cannot make a socket: %s",
				      strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		ret = connect_failed(path, err);
		close(fd);
		return ret;
	}
	return fd;
}

static int silent(struct conn *c)
{
	return gate_error_set(c->err, GATE_ERR_UNREACHABLE, "gate25d does not answer%s", c->doubt);
}

/*
 * 0, 1 when the server has closed its side, which may well have answered already
 * (a refusal need not read the body), or -errno.
 */
static int send_all(struct conn *c, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = send(c->fd, data, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
			return 1;
		if (n < 0)
			return silent(c);
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

static int send_chunks(struct conn *c, int body_fd)
{
	static char data[CHUNK_MAX];
	char size[24];

	for (;;) {
		ssize_t n = read(body_fd, data, sizeof(data));
		int ret;

		if (n < 0 && errno == EINTR)
			continue;
		/* Without the last chunk the server takes nothing of it. */
		if (n < 0)
			return gate_error_set(c->err, GATE_ERR_FAILED, "cannot read: %s",
					      strerror(errno));
		snprintf(size, sizeof(size), "%zx\r\n", (size_t)n);
		ret = send_all(c, size, strlen(size));
		if (!ret && n > 0)
			ret = send_all(c, data, (size_t)n);
		if (!ret)
			ret = send_all(c, "\r\n", 2);
		if (ret || n == 0)
			return ret;
	}
}

static int send_request(struct conn *c, const struct http_request *r)
{
	char head[4096];
	int len, ret;

	len = snprintf(head, sizeof(head),
		       "%s %s HTTP/1.1\r\nHost: gate25\r\nConnection: close\r\n", r->method,
		       r->path);
	if (r->actor && len < (int)sizeof(head))
		len += snprintf(head + len, sizeof(head) - (size_t)len, "X-Gate25-Actor: %s\r\n",
				r->actor);
	if (len < (int)sizeof(head) && r->body_fd >= 0)
		len += snprintf(head + len, sizeof(head) - (size_t)len,
				"Transfer-Encoding: chunked\r\n\r\n");
	else if (len < (int)sizeof(head) && r->body)
		len += snprintf(head + len, sizeof(head) - (size_t)len,
				"Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
				r->body_len);
	else if (len < (int)sizeof(head))
		len += snprintf(head + len, sizeof(head) - (size_t)len, "\r\n");
	if (len >= (int)sizeof(head))
		return gate_error_set(c->err, GATE_ERR_USAGE, "the arguments are too long");
	ret = send_all(c, head, (size_t)len);
	if (!ret && r->body_fd >= 0)
		ret = send_chunks(c, r->body_fd);
	else if (!ret && r->body)
		ret = send_all(c, r->body, r->body_len);
	return ret < 0 ? ret : 0;
}

/* ---- reading ---- */

/* More bytes into a buffer whose used part is dropped. 1, 0 at the end, or -errno. */
static int fill(struct conn *c)
{
	ssize_t n;

	memmove(c->buf, c->buf + c->at, c->len - c->at);
	c->len -= c->at;
	c->at = 0;
	if (c->len == sizeof(c->buf))
		return garbage(c, "a line without end");
	do {
		n = recv(c->fd, c->buf + c->len, sizeof(c->buf) - c->len, 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return silent(c);
	if (n < 0 && errno != ECONNRESET)
		return gate_error_set(c->err, GATE_ERR_UNREACHABLE, "cannot read the answer: %s",
				      strerror(errno));
	if (n <= 0)
		return 0;
	c->len += (size_t)n;
	return 1;
}

/* The next line, NUL-terminated without its CRLF; valid until the next call. */
static int take_line(struct conn *c, char **line)
{
	size_t seen = 0;
	char *end;
	int ret;

	while (!(end = memchr(c->buf + c->at + seen, '\n', c->len - c->at - seen))) {
		seen = c->len - c->at;
		ret = fill(c);
		if (ret <= 0)
			return ret ? ret : gone(c);
	}
	*line = c->buf + c->at;
	c->at = (size_t)(end + 1 - c->buf);
	*end = '\0';
	if (end > *line && end[-1] == '\r')
		end[-1] = '\0';
	return strlen(*line) + 2 < (size_t)(c->buf + c->at - *line) ? garbage(c, "a NUL byte") : 0;
}

static int parse_u64(const char *s, unsigned base, uint64_t *out)
{
	uint64_t v = 0;

	if (!*s)
		return -EINVAL;
	for (; *s; s++) {
		unsigned digit = *s >= '0' && *s <= '9'	  ? (unsigned)(*s - '0')
				 : *s >= 'a' && *s <= 'f' ? (unsigned)(*s - 'a' + 10)
				 : *s >= 'A' && *s <= 'F' ? (unsigned)(*s - 'A' + 10)
							  : 99;

		if (digit >= base || v > (UINT64_MAX - digit) / base)
			return -EINVAL;
		v = v * base + digit;
	}
	*out = v;
	return 0;
}

static int take_status(struct conn *c, struct head *h)
{
	char *line;
	int ret = take_line(c, &line);

	if (ret)
		return ret;
	if (strncmp(line, "HTTP/1.", 7) != 0 || strlen(line) < 12 || line[8] != ' ' ||
	    strspn(line + 9, "0123456789") != 3)
		return garbage(c, "no HTTP");
	h->status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
	return 0;
}

static int take_field(struct conn *c, char *line, struct head *h)
{
	char *colon = strchr(line, ':'), *value;
	uint64_t length;

	if (!colon)
		return garbage(c, "a head without sense");
	*colon = '\0';
	value = colon + 1 + strspn(colon + 1, " \t");
	if (strcasecmp(line, "Transfer-Encoding") == 0) {
		if (strcasecmp(value, "chunked") != 0)
			return garbage(c, "an unknown transfer encoding");
		h->chunked = true;
	}
	if (strcasecmp(line, "Content-Length") == 0) {
		if (parse_u64(value, 10, &length) || (h->has_length && h->length != length))
			return garbage(c, "a length without sense");
		h->has_length = true;
		h->length = length;
	}
	return 0;
}

static int take_head(struct conn *c, struct head *h)
{
	size_t fields = 0;
	char *line;
	int ret;

	*h = (struct head){ 0 };
	ret = take_status(c, h);
	while (!ret) {
		ret = take_line(c, &line);
		if (ret || !*line)
			break;
		if (++fields > 100)
			return garbage(c, "a head without end");
		ret = take_field(c, line, h);
	}
	return ret;
}

/* ---- bodies ---- */

struct body {
	int status;
	http_sink sink;
	void *arg;
};

/* Hands over `left` bytes, or all there are when left is UINT64_MAX. */
static int pass_bytes(struct conn *c, const struct body *b, uint64_t left)
{
	while (left > 0) {
		size_t n = c->len - c->at;
		int ret;

		if (n == 0) {
			ret = fill(c);
			if (ret == 0 && left == UINT64_MAX)
				return 0;
			if (ret <= 0)
				return ret ? ret : gone(c);
			continue;
		}
		if (n > left)
			n = (size_t)left;
		ret = b->sink(b->arg, b->status, c->buf + c->at, n);
		if (ret)
			return ret;
		c->at += n;
		if (left != UINT64_MAX)
			left -= n;
	}
	return 0;
}

static int pass_chunks(struct conn *c, const struct body *b)
{
	uint64_t size;
	char *line;
	int ret;

	for (;;) {
		ret = take_line(c, &line);
		if (ret)
			return ret;
		line[strcspn(line, "; \t")] = '\0';
		if (parse_u64(line, 16, &size) || size >= UINT64_MAX / 2)
			return garbage(c, "a chunk without sense");
		if (size == 0)
			return 0;
		ret = pass_bytes(c, b, size);
		if (!ret)
			ret = take_line(c, &line);
		if (ret)
			return ret;
		if (*line)
			return garbage(c, "a chunk longer than it says");
	}
}

static int read_answer(struct conn *c, int *status, struct body *b)
{
	struct head h;
	int ret;

	do {
		ret = take_head(c, &h);
	} while (!ret && h.status >= 100 && h.status < 200);
	if (ret)
		return ret;
	*status = b->status = h.status;
	if (h.chunked)
		return pass_chunks(c, b);
	return pass_bytes(c, b, h.has_length ? h.length : UINT64_MAX);
}

int http_exchange(const char *socket_path, const struct http_request *r, int *status,
		  http_sink sink, void *arg, struct gate_error *err)
{
	struct body b = { .sink = sink, .arg = arg };
	struct conn c = { .err = err };
	int ret;

	c.doubt =
		strcmp(r->method, "GET") == 0 ? "" : "; whether the change is in force is unknown";
	c.fd = open_socket(socket_path, r->timeout_s, err);
	if (c.fd < 0)
		return c.fd;
	ret = send_request(&c, r);
	if (!ret)
		ret = read_answer(&c, status, &b);
	close(c.fd);
	return ret;
}
