/*
 * route_path: the path that routes match on, and the path that a server gets to see. Pure. Matching
 * happens on one canonical form (RFC 3986 §6.2.2); what is forwarded keeps the client's spelling,
 * but never climbs out of the prefix that was taken off.
 */
#include "routerd/route.h"

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = ascii_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that "%XY" at p stands for; -1 when it is no such thing. */
static int
percent_byte(const char *p, size_t left)
{
	if (left < 3 || hex_value(p[1]) < 0 || hex_value(p[2]) < 0)
		return -1;
	return hex_value(p[1]) << 4 | hex_value(p[2]);
}

/* Where the first thing stands that normalising would change: '%', "//", or a segment that begins
 * with a dot. */
static size_t
plain_prefix(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '%')
			return i;
		if (s.p[i] == '/' && i + 1 < s.n && (s.p[i + 1] == '/' || s.p[i + 1] == '.'))
			return i;
	}
	return s.n;
}

/*
 * One segment, decoded, to out. "%2F" must not become a segment border, and "%25" stays so that two
 * different paths never look the same; both in capitals.
 */
static enum path_result
decode_segment(struct slice s, char *out, size_t *n)
{
	size_t at = 0;

	for (size_t i = 0; i < s.n; i++) {
		int byte = (unsigned char)s.p[i];

		if (byte == '%') {
			byte = percent_byte(s.p + i, s.n - i);
			if (byte < 0)
				return PATH_BAD_PERCENT;
			i += 2;
			if (byte == '/' || byte == '%') {
				memcpy(out + at, byte == '/' ? "%2F" : "%25", 3);
				at += 3;
				continue;
			}
		}
		if (byte == 0)
			return PATH_NUL;
		out[at++] = (char)byte;
	}
	*n = at;
	return PATH_OK;
}

enum dots { DOTS_NONE, DOTS_HERE, DOTS_UP };

static enum dots
segment_dots(const char *p, size_t n)
{
	if (n == 1 && p[0] == '.')
		return DOTS_HERE;
	return n == 2 && p[0] == '.' && p[1] == '.' ? DOTS_UP : DOTS_NONE;
}

/* buf[0..n) ends with '/': without its last segment. */
static size_t
segment_drop(const char *buf, size_t n)
{
	for (n--; n > 0 && buf[n - 1] != '/'; n--)
		;
	return n;
}

enum path_result
route_normalise(struct slice path, char *buf, struct slice *out)
{
	size_t n = 0;

	*out = path;
	if (path.n == 0 || path.p[0] != '/' || plain_prefix(path) == path.n)
		return PATH_OK;
	buf[n++] = '/'; /* invariant: what is done ends with a slash */
	for (size_t i = 1; i < path.n;) {
		struct slice rest = slice_skip(path, i);
		struct slice raw = slice_make(rest.p, slice_find(rest, '/'));
		bool has_slash = raw.n < rest.n;
		size_t len = 0;
		enum path_result r = decode_segment(raw, buf + n, &len);

		if (r != PATH_OK)
			return r;
		i += raw.n + has_slash;
		switch (segment_dots(buf + n, len)) {
		case DOTS_HERE: continue;
		case DOTS_UP:
			if (n == 1)
				return PATH_ABOVE_ROOT;
			n = segment_drop(buf, n);
			continue;
		case DOTS_NONE: break;
		}
		n += len;
		if (has_slash && len > 0)
			buf[n++] = '/';
	}
	*out = slice_make(buf, n);
	return PATH_OK;
}

/* --- strip --- */

/* What a raw segment means, with its dots percent-encoded or not. */
static enum dots
raw_dots(struct slice raw)
{
	char buf[6];
	size_t n;

	if (raw.n > sizeof(buf) || decode_segment(raw, buf, &n) != PATH_OK)
		return DOTS_NONE;
	return segment_dots(buf, n);
}

static unsigned
count_segments(struct slice path)
{
	unsigned n = 0;

	for (size_t i = 0; i < path.n; i++)
		n += path.p[i] == '/';
	return n;
}

/*
 * The client's spelling without its first `skip` segments, with dot segments resolved and slashes
 * merged.
 */
static struct slice
strip_slowly(struct slice path, unsigned skip, struct arena *a)
{
	char *buf = arena_alloc(a, path.n + 1);
	size_t n = 0;
	unsigned depth = 0;

	buf[n++] = '/';
	for (size_t i = 1; i < path.n;) {
		struct slice rest = slice_skip(path, i);
		struct slice raw = slice_make(rest.p, slice_find(rest, '/'));
		bool has_slash = raw.n < rest.n;
		enum dots dots = raw_dots(raw);

		i += raw.n + has_slash;
		if (dots == DOTS_HERE || raw.n == 0)
			continue;
		if (dots == DOTS_UP) {
			/* Those of the prefix were not copied: they are only counted. */
			depth -= depth > 0;
			if (depth >= skip && n > 1)
				n = segment_drop(buf, n);
			continue;
		}
		if (depth++ < skip)
			continue;
		memcpy(buf + n, raw.p, raw.n);
		n += raw.n;
		if (has_slash)
			buf[n++] = '/';
	}
	return slice_make(buf, n);
}

struct slice
route_strip(const struct route *r, struct slice path, struct arena *a)
{
	if (r->strip.n == 0 || path.n == 0 || path.p[0] != '/')
		return path;
	/* The usual case: nothing to resolve, the prefix is there letter by letter. */
	if (slice_starts(path, r->strip) && plain_prefix(path) == path.n) {
		struct slice rest = slice_skip(path, r->strip.n);

		return rest.n > 0 ? rest : SLICE("/");
	}
	return strip_slowly(path, count_segments(r->strip), a);
}
