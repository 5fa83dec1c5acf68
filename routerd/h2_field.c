/*
 * h2_field: RFC 9113 §8.2, one field line at a time; what needs all of them is the business of who
 * puts a message together.
 */
#include "routerd/h2_field.h"

const char *
h2_name_fault(struct slice name)
{
	if (name.n == 0)
		return "empty_field_name";
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] >= 'A' && name.p[i] <= 'Z')
			return "bad_field_name";
	return http1_is_token(name) ? NULL : "bad_field_name";
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

const char *
h2_value_fault(struct slice v)
{
	if (!http1_is_value(v) || (v.n > 0 && (is_blank(v.p[0]) || is_blank(v.p[v.n - 1]))))
		return "bad_field_value";
	return NULL;
}

const char *
h2_connection_fault(enum field_id id, struct slice value, bool is_answer)
{
	switch (id) {
	case FIELD_CONNECTION:
	case FIELD_KEEP_ALIVE:
	case FIELD_PROXY_CONNECTION:
	case FIELD_TRANSFER_ENCODING:
	case FIELD_UPGRADE: return "connection_field";
	case FIELD_TE:
		if (is_answer)
			return "connection_field";
		return slice_caseeq(value, SLICE("trailers")) ? NULL : "bad_te";
	default: return NULL;
	}
}

uint16_t
h2_field_flags(enum field_id id, struct slice name, bool is_trailer)
{
	unsigned flags = field_flags(id);
	unsigned dropped = is_trailer ? FIELD_HOP | FIELD_FRAMING : FIELD_HOP;

	if ((flags & dropped) || (id == FIELD_OTHER && http1_is_framing_alike(name)))
		flags |= MSG_FIELD_DROP;
	return (uint16_t)flags;
}
