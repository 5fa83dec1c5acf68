/*
 * forward_client: who is the client, given who is connected and what trusted proxies say? Reads the
 * list from its end, where the proxies that we know have written; what stands further to the left
 * than the first stranger is hearsay.
 */
#include <arpa/inet.h>

#include "routerd/forward.h"

/* The address in "1.2.3.4", "1.2.3.4:80", "::1", "[::1]" or "[::1]:80". */
static struct slice
bare_address(struct slice s)
{
	size_t colon = slice_find(s, ':');

	if (s.n > 0 && s.p[0] == '[')
		return slice_make(s.p + 1, slice_find(slice_skip(s, 1), ']'));
	if (colon < s.n && slice_find(slice_skip(s, colon + 1), ':') == s.n - colon - 1)
		return slice_make(s.p, colon);
	return s;
}

/* false when it is no address. */
static bool
parse_address(struct slice s, struct addr *out)
{
	char text[INET6_ADDRSTRLEN];

	if (s.n == 0 || s.n >= sizeof(text))
		return false;
	memcpy(text, s.p, s.n);
	text[s.n] = '\0';
	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET, text, &out->in.sin_addr) == 1) {
		out->in.sin_family = AF_INET;
		out->len = sizeof(out->in);
		return true;
	}
	out->in6.sin6_family = AF_INET6;
	out->len = sizeof(out->in6);
	return inet_pton(AF_INET6, text, &out->in6.sin6_addr) == 1;
}

/* The last member of a list without quoting; *rest loses it. false when there is none. */
static bool
take_last(struct slice *rest, struct slice *member)
{
	while (rest->n > 0) {
		size_t from = rest->n;

		while (from > 0 && rest->p[from - 1] != ',')
			from--;
		*member = slice_trim(slice_skip(*rest, from));
		rest->n = from > 0 ? from - 1 : 0;
		if (member->n > 0)
			return true;
	}
	return false;
}

struct walk {
	const struct httpcfg *http;
	struct slice client; /* the best answer so far */
};

/* true: go on to the left, this one is a proxy of ours. */
static bool
walk_member(struct walk *w, struct slice member)
{
	struct slice text = bare_address(member);
	struct addr address;

	if (!parse_address(text, &address))
		return false;
	w->client = text;
	return addr_nets_have(w->http->trusted_proxies.v, w->http->trusted_proxies.n, &address.sa);
}

struct slice
forward_client(const struct msg *m, const struct forward_info *info)
{
	struct walk w = { info->http, info->peer };

	if (!info->peer_is_trusted || !m->first[FIELD_X_FORWARDED_FOR])
		return info->peer;
	for (unsigned i = m->field_count; i-- > 0;) {
		const struct field *f = &m->fields[i];
		struct slice rest = f->value;
		struct slice member;

		/* Also those marked to be dropped: what forward_request replaced has the same end,
		 * and nominating one must not change who the client is. */
		if (f->id != FIELD_X_FORWARDED_FOR)
			continue;
		while (take_last(&rest, &member))
			if (!walk_member(&w, member))
				return w.client;
	}
	return w.client;
}
