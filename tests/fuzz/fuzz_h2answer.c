/* area: routerd */
/*
 * What a server says by HTTP/2, and the head that a client of HTTP/1 then gets. Input: a byte of
 * choices, then fields: length of the name, length of the value, name, value. Whatever is taken and
 * written must be read by HTTP/1's parser as the same answer: one head, the same status and length,
 * no field more than there were.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/mem.h"
#include "routerd/exchange_h2_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t
write_head(char *to, const struct msg *m, unsigned *count)
{
	char *at = to;

	at += sprintf(at, "HTTP/1.1 %03u x\r\n", m->status);
	*count = 0;
	for (unsigned i = 0; i < m->field_count; i++) {
		const struct field *f = &m->fields[i];

		if (f->flags & (MSG_FIELD_DROP | FIELD_HOP) || f->id == FIELD_CONTENT_LENGTH)
			continue;
		at += sprintf(at, "%.*s: ", SLICE_ARG(f->name));
		if (f->value.n > 0)
			memcpy(at, f->value.p, f->value.n);
		at += f->value.n;
		at += sprintf(at, "\r\n");
		(*count)++;
	}
	if (m->body == BODY_LENGTH) {
		at += sprintf(
			at, "Content-Length: %llu\r\n", (unsigned long long)m->content_length);
		(*count)++;
	} else if (m->body == BODY_CHUNKED) {
		at += sprintf(at, "Transfer-Encoding: chunked\r\n");
		(*count)++;
	}
	at += sprintf(at, "\r\n");
	return (size_t)(at - to);
}

static void
read_back(const struct msg *m, enum method asked)
{
	static const struct http1_limits wide = {
		.head_bytes = 65536, .target_bytes = 8192, .fields = 250
	};
	static char head[65536];
	struct field fields[255];
	struct http1_scan scan = { 0 };
	struct http1_error err;
	struct msg got;
	unsigned count;
	size_t n = write_head(head, m, &count);

	msg_init(&got, fields, 255);
	if (http1_response(&scan, head, n, &wide, asked, &got, &err) != HTTP1_DONE)
		abort();
	assert(got.head_len == n);
	assert(got.status == m->status);
	assert(got.field_count == count);
	assert(got.body == m->body || (m->body == BODY_NONE && got.body == BODY_UNTIL_CLOSE));
	assert(m->body != BODY_LENGTH || got.content_length == m->content_length);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct http1_limits limits = {
		.head_bytes = 16384, .target_bytes = 8192, .fields = 100
	};
	struct field fields[255];
	char *text = xmalloc(16384);
	struct h2_answer a;
	struct msg m;
	enum method asked;
	bool is_trailer;
	bool is_end;

	if (size < 1) {
		free(text);
		return 0;
	}
	asked = data[0] & 1 ? METHOD_HEAD : METHOD_GET;
	is_end = data[0] & 2;
	is_trailer = data[0] & 4;
	data++;
	size--;
	msg_init(&m, fields, 200);
	h2_answer_init(&a, &m, text, 16384, &limits, is_trailer);
	while (size >= 2) {
		size_t name_n = data[0] & 63;
		size_t value_n = data[1];

		data += 2;
		size -= 2;
		if (name_n + value_n > size)
			break;
		h2_answer_field(&a, slice_make((const char *)data, name_n),
			slice_make((const char *)data + name_n, value_n));
		data += name_n + value_n;
		size -= name_n + value_n;
	}
	assert(a.used <= 16384);
	if (!is_trailer && h2_answer_end(&a, asked, is_end))
		read_back(&m, asked);
	else
		assert(is_trailer || a.reason != NULL);
	free(text);
	return 0;
}
