/* area: routerd */
/*
 * fuzz_h2head: header sections as HPACK gives them (nghttp2's inflater reads the input) into
 * h2_head. What it lets through is written down as HTTP/1 and read again by that parser, which has
 * to see the same single message: nothing passes that has two readings.
 */
#include <assert.h>
#include <stdlib.h>

#include <nghttp2/nghttp2.h>

#include "libcommon/sbuf.h"
#include "routerd/h2_head.h"

#define CAP 100

static const struct http1_limits limits = {
	.head_bytes = 8192, .target_bytes = 4096, .fields = 64
};
static const struct http1_limits wide = {
	.head_bytes = 1 << 16, .target_bytes = 8192, .fields = CAP
};

static bool
is_written(const struct field *f)
{
	return !(f->flags & MSG_FIELD_DROP) && f->id != FIELD_CONTENT_LENGTH && f->id != FIELD_HOST;
}

static void
read_again(const struct msg *m)
{
	struct sbuf b = { 0 };
	struct http1_scan scan = { 0 };
	struct http1_error err;
	struct field fields[CAP];
	struct msg again;
	unsigned count = 1;

	sbuf_add(&b, m->method_name.p, m->method_name.n);
	sbuf_addc(&b, ' ');
	sbuf_add(&b, m->target.p, m->target.n);
	sbuf_adds(&b, " HTTP/1.1\r\nHost: ");
	sbuf_add(&b, m->authority.p, m->authority.n);
	sbuf_adds(&b, "\r\n");
	for (unsigned i = 0; i < m->field_count; i++) {
		const struct field *f = &m->fields[i];

		if (!is_written(f))
			continue;
		sbuf_add(&b, f->name.p, f->name.n);
		sbuf_adds(&b, ": ");
		sbuf_add(&b, f->value.p, f->value.n);
		sbuf_adds(&b, "\r\n");
		count++;
	}
	sbuf_adds(&b, "\r\n");

	struct slice all = sbuf_slice(&b);

	msg_init(&again, fields, CAP);
	if (http1_request(&scan, all.p, all.n, &wide, &again, &err) != HTTP1_DONE)
		abort();
	if (again.head_len != all.n || again.field_count != count || again.body != BODY_NONE ||
		!slice_eq(again.path, m->path) || again.has_query != m->has_query)
		abort();
	for (unsigned i = 0, k = 1; i < m->field_count; i++) {
		if (!is_written(&m->fields[i]))
			continue;
		if (!slice_eq(again.fields[k].name, m->fields[i].name) ||
			!slice_eq(again.fields[k].value, m->fields[i].value))
			abort();
		k++;
	}
	sbuf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	nghttp2_hd_inflater *inflater;
	struct field fields[CAP];
	struct h2_trailers trailers = { .count = 0 };
	struct arena arena;
	struct h2_head h;
	struct msg m;
	bool is_end = n > 0 && (data[0] & 1);
	int flags = 0;

	if (n == 0 || n > 1 << 14 || nghttp2_hd_inflate_new(&inflater) != 0)
		return 0;
	data++;
	n--;
	arena_init(&arena, 0);
	msg_init(&m, fields, CAP);
	h2_head_init(&h, &m, &arena, &limits);
	while (!(flags & NGHTTP2_HD_INFLATE_FINAL)) {
		nghttp2_nv nv;
		ssize_t used = nghttp2_hd_inflate_hd2(inflater, &nv, &flags, data, n, 1);

		if (used < 0)
			break;
		data += used;
		n -= (size_t)used;
		if (flags & NGHTTP2_HD_INFLATE_EMIT) {
			struct slice name = slice_make((const char *)nv.name, nv.namelen);
			struct slice value = slice_make((const char *)nv.value, nv.valuelen);

			h2_head_field(&h, name, value);
			h2_trailers_field(&trailers, &arena, name, value);
		} else if (used == 0 && n == 0) {
			break;
		}
	}
	if (h2_head_end(&h, is_end))
		read_again(&m);
	else
		assert(h.reason != NULL && h.status >= 400);
	arena_fini(&arena);
	nghttp2_hd_inflate_del(inflater);
	return 0;
}
