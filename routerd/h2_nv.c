/*
 * h2_nv: copies of fields.
 */
#include "routerd/h2_nv.h"

#include <string.h>

#include "libcommon/mem.h"

static uint8_t *
put(char **at, struct slice s)
{
	char *to = *at;

	if (s.n > 0)
		memcpy(to, s.p, s.n);
	*at += s.n;
	return (uint8_t *)to;
}

nghttp2_nv *
h2_nv_keep(const struct field *f, uint16_t count, size_t *n)
{
	size_t bytes = 0;
	nghttp2_nv *v;
	char *text;

	for (uint16_t i = 0; i < count; i++)
		bytes += h2_nv_is_left_out(&f[i]) ? 0 : f[i].name.n + f[i].value.n;
	v = xmalloc(count * sizeof(*v) + bytes + 1);
	text = (char *)(v + count);
	*n = 0;
	for (uint16_t i = 0; i < count; i++) {
		if (h2_nv_is_left_out(&f[i]))
			continue;
		v[(*n)++] = (nghttp2_nv){
			.name = put(&text, f[i].name),
			.namelen = f[i].name.n,
			.value = put(&text, f[i].value),
			.valuelen = f[i].value.n,
		};
	}
	return v;
}
