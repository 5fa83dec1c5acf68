/* httpcheck: see the header. */
#include "healthd/httpcheck.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcommon/busmsg.h"
#include "libcommon/mem.h"
#include "libcommon/slice.h"

static const char *const ours[HTTPCHECK_OURS][2] = {
	{ "User-Agent", "weir-healthd/" WEIR_VERSION },
	{ "Accept", "*/*" },
};

void
httpcheck_init(struct httpcheck *h, const struct checkcfg *c)
{
	h->good_count = c->status.n;
	h->good = xmalloc(h->good_count * sizeof(*h->good) + 1);
	memcpy(h->good, c->status.v, h->good_count * sizeof(*h->good));
}

void
httpcheck_fini(struct httpcheck *h)
{
	free(h->good);
}

static bool
is_good(const struct httpcheck *h, unsigned status)
{
	for (size_t i = 0; i < h->good_count; i++)
		if ((int)status >= h->good[i].lo && (int)status <= h->good[i].hi)
			return true;
	return false;
}

void
httpcheck_judge(struct probe *p, const struct httpcheck *h, unsigned status, bool drain)
{
	char reason[BUSMSG_WORD_MAX];

	snprintf(reason, sizeof(reason), "http_%u", status);
	if (is_good(h, status))
		probe_finish(p, PROBE_GOOD, "", drain);
	else
		probe_finish(p, PROBE_FAILED, reason, drain);
}

/* A Unix path is no host. */
const char *
httpcheck_host(const struct probe_to *to)
{
	static const char *const schemes[] = { "https://", "http://" };
	const char *text = to->host_text;

	if (to->check->host != NULL)
		return to->check->host;
	for (size_t i = 0; i < sizeof(schemes) / sizeof(*schemes); i++)
		if (strncmp(text, schemes[i], strlen(schemes[i])) == 0) {
			text += strlen(schemes[i]);
			break;
		}
	return strncmp(text, "unix:", 5) == 0 ? "localhost" : text;
}

static bool
has_field(const struct checkcfg *c, const char *name)
{
	for (size_t i = 0; i < c->headers.n; i++)
		if (slice_caseeq(slice_str(CFG_AT(struct cfg_pair, c->headers, i)->name),
			    slice_str(name)))
			return true;
	return false;
}

void
httpcheck_fields(const struct checkcfg *c,
	void (*fn)(void *arg, const char *name, const char *value), void *arg)
{
	for (size_t i = 0; i < HTTPCHECK_OURS; i++)
		if (!has_field(c, ours[i][0]))
			fn(arg, ours[i][0], ours[i][1]);
	for (size_t i = 0; i < c->headers.n; i++) {
		const struct cfg_pair *f = CFG_AT(const struct cfg_pair, c->headers, i);

		fn(arg, f->name, f->value);
	}
}
