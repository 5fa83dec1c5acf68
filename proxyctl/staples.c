/*
 * staples: `proxyctl ocsp refresh`: asks the responders of the certificates that `tls` names, and
 * writes what they say beside the certificates, where tlsd looks. Each certificate stands for
 * itself: what goes wrong with one keeps what it had, and the others go on.
 *
 * What a responder has said, now or the last time, is read by a process that may do nothing
 * (outside.h). Here it is bytes to be written, and tlsd judges for itself before it shows them.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "libcommon/file.h"
#include "libcommon/jsonput.h"
#include "libcommon/units.h"
#include "proxyctl/certpaths.h"
#include "proxyctl/commands.h"
#include "proxyctl/fetch.h"
#include "proxyctl/ocsp.h"
#include "proxyctl/outside.h"
#include "proxyctl/plain.h"
#include "proxyctl/site.h"

/* The resolver and a busy machine need time, too, before the one who asks is given up. */
enum { TIMEOUT_MS = 10000, SLACK_MS = 2000 /* for what is reckoned */ };

/* What there is to say of one certificate. */
enum outcome {
	OUT_GOOD,    /* fetched and written */
	OUT_FRESH,   /* holds for more than half of its time: not asked for */
	OUT_NONE,    /* the certificate names no responder */
	OUT_REVOKED, /* fetched and written: it must not be shown any longer */
	OUT_FAILED,  /* what was there stays */
};

static const char *const words[] = { "good", "fresh", "none", "revoked", "failed" };

struct options {
	bool is_json;
	bool is_quiet; /* nothing of those for which nothing was done */
	bool is_forced;
	int64_t timeout_ms;
};

struct refresh {
	struct options o;
	char **seen; /* staples that were looked at: certificates may be named twice */
	size_t nseen;
	char **dead; /* responders that did not answer */
	size_t ndead;
	json_t *json;
	bool has_failed;
};

struct one {
	const char *cert_path;
	const char *staple_path;
	struct ocsp_cert *cert;
	enum outcome out;
	struct err why;
	struct ocspcheck_times times;
};

/* What the process outside is given, and what comes back. */
struct question {
	const struct options *o;
	const struct ocsp_cert *cert;
	bool is_dead;             /* its responder has just failed */
	const unsigned char *old; /* the staple that is there */
	size_t old_n;
	int64_t now_s;
};

struct answer {
	int out; /* enum outcome: GOOD, FRESH, REVOKED or FAILED */
	bool is_silent;
	struct err why;
	struct ocspcheck_times times;
	size_t n;
	unsigned char der[OCSPCHECK_MAX];
};

/* ---- what is said ---- */

static void
say_json(struct refresh *r, const struct one *c)
{
	json_t *o = json_object();
	char when[UNITS_TIME];

	jsonput_text(o, "cert", c->cert_path);
	jsonput_text(o, "ocsp", c->staple_path);
	jsonput_text(o, "state", words[c->out]);
	if (c->cert != NULL && ocsp_responder(c->cert) != NULL)
		jsonput_text(o, "responder", ocsp_responder(c->cert));
	if (c->why.text[0] != '\0')
		jsonput_text(o, "text", c->why.text);
	if (c->times.next_update > 0) {
		units_format_time(c->times.this_update, when);
		jsonput_text(o, "this_update", when);
		units_format_time(c->times.next_update, when);
		jsonput_text(o, "next_update", when);
	}
	json_array_append_new(r->json, o);
}

static void
say(struct refresh *r, const struct one *c)
{
	char when[UNITS_TIME] = "";

	r->has_failed |= c->out == OUT_FAILED || c->out == OUT_REVOKED;
	if (r->json != NULL) {
		say_json(r, c);
		return;
	}
	if (r->o.is_quiet && (c->out == OUT_FRESH || c->out == OUT_NONE))
		return;
	if (c->times.next_update > 0)
		units_format_time(c->times.next_update, when);
	printf("%s: %s%s%s%s%s\n", c->cert_path, words[c->out], when[0] ? ", holds until " : "",
		when, c->why.text[0] ? ": " : "", c->why.text);
	fflush(stdout);
}

/* ---- files ---- */

/* Bytes of the staple that is there, or -1. */
static ssize_t
read_old(const char *path, unsigned char *buf, size_t cap, struct stat *st)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	ssize_t n = -1;

	if (fd < 0)
		return -1;
	if (fstat(fd, st) == 0 && S_ISREG(st->st_mode))
		n = pread(fd, buf, cap, 0);
	close(fd);
	return n;
}

static void
sync_folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *dir = slash != NULL && slash > path ? xstrndup(path, (size_t)(slash - path))
						  : xstrdup(slash != NULL ? "/" : ".");

	(void)file_sync_folder(dir);
	free(dir);
}

/* Beside it and renamed, so that a reader finds the old one or the new one. It is as public as the
 * certificate; it belongs to whom the one before, else the certificate, belongs. */
static int
write_staple(const char *path, const unsigned char *p, size_t n, const struct stat *like,
	struct err *err)
{
	char *temp = xasprintf("%s.XXXXXX", path);
	int fd = mkostemp(temp, O_CLOEXEC);
	int rc = -1;

	if (fd >= 0) {
		rc = fchmod(fd, 0644);
		if (rc == 0 && geteuid() == 0)
			rc = fchown(fd, like->st_uid, like->st_gid);
		if (rc == 0)
			rc = file_write(fd, slice_make((const char *)p, n));
		if (rc == 0)
			rc = fsync(fd);
		if (close(fd) < 0)
			rc = -1;
		if (rc == 0)
			rc = rename(temp, path);
		if (rc < 0)
			err_set(err, "%s cannot be written: %s", path, strerror(errno));
		else
			sync_folder_of(path);
		if (rc < 0)
			unlink(temp);
	} else {
		err_set(err, "%s cannot be written: %s", path, strerror(errno));
	}
	free(temp);
	return rc;
}

/* ---- outside ---- */

/* The response into a->der; false with a->why. */
static bool
ask(const struct question *q, struct answer *a)
{
	const char *url = ocsp_responder(q->cert);
	struct err err = { "" };
	struct fetch f = {
		.url = url,
		.type = "application/ocsp-request",
		.want = "application/ocsp-response",
		.timeout_ms = q->o->timeout_ms,
	};
	unsigned char *request = ocsp_request(q->cert, &f.body_n, &a->why);
	long n = -1;

	if (request != NULL && q->is_dead) {
		err_set(&a->why, "%s: not asked again: it has just failed", url);
	} else if (request != NULL) {
		f.body = request;
		n = fetch_post(&f, a->der, sizeof(a->der), &err);
		if (n < 0)
			err_set(&a->why, "%s: %s", url, err.text);
		a->is_silent = n == FETCH_SILENT;
	}
	free(request);
	a->n = n > 0 ? (size_t)n : 0;
	return n >= 0;
}

/* Half of its time has passed, or there is nothing that could be shown. */
static bool
is_due(const struct question *q, enum ocspcheck_result old, const struct ocspcheck_times *t)
{
	return q->o->is_forced || old != OCSPCHECK_GOOD ||
		q->now_s >= t->this_update + (t->next_update - t->this_update) / 2;
}

static void
fetch(const struct question *q, struct answer *a)
{
	const char *url = ocsp_responder(q->cert);
	struct ocspcheck_times times;
	struct err why = { "" };
	enum ocspcheck_result verdict;

	if (!ask(q, a))
		return;
	verdict = ocsp_judge(q->cert, a->der, a->n, q->now_s, &times, &why);
	if (verdict == OCSPCHECK_BAD) {
		err_set(&a->why, "%s: its answer %s", url, why.text);
		return;
	}
	if (verdict == OCSPCHECK_GOOD && times.this_update < a->times.this_update) {
		err_set(&a->why, "%s: its answer is older than the one that is there", url);
		return;
	}
	a->times = times;
	a->why = why;
	a->out = verdict == OCSPCHECK_GOOD ? OUT_GOOD : OUT_REVOKED;
}

static void
answer(void *arg, void *out)
{
	const struct question *q = arg;
	struct answer *a = out;
	enum ocspcheck_result old = OCSPCHECK_BAD;
	struct err ignored;

	if (q->old_n > 0)
		old = ocsp_judge(q->cert, q->old, q->old_n, q->now_s, &a->times, &ignored);
	if (old == OCSPCHECK_BAD)
		a->times = (struct ocspcheck_times){ 0 };
	a->out = OUT_FAILED;
	if (is_due(q, old, &a->times))
		fetch(q, a);
	else
		a->out = OUT_FRESH;
}

/* Words for a terminal, whatever became of who wrote them. */
static void
tame(struct err *why)
{
	struct sbuf plain = { 0 };

	why->text[sizeof(why->text) - 1] = '\0';
	plain_add(&plain, why->text, PLAIN_ONE_LINE);
	err_set(why, "%s", sbuf_str(&plain));
	sbuf_fini(&plain);
}

/* ---- one certificate ---- */

static bool
is_dead(const struct refresh *r, const char *origin)
{
	for (size_t i = 0; i < r->ndead; i++)
		if (strcmp(r->dead[i], origin) == 0)
			return true;
	return false;
}

/* A responder that does not answer is asked once. Takes origin over. */
static void
note_silence(struct refresh *r, char *origin, bool is_silent)
{
	if (!is_silent || is_dead(r, origin)) {
		free(origin);
		return;
	}
	r->dead = xreallocarray(r->dead, r->ndead + 1, sizeof(*r->dead));
	r->dead[r->ndead++] = origin;
}

static void
take_answer(struct one *c, struct answer *a, const struct stat *like)
{
	tame(&a->why);
	c->why = a->why;
	c->times = a->times;
	c->out = a->out == OUT_FRESH ? OUT_FRESH : OUT_FAILED;
	if ((a->out != OUT_GOOD && a->out != OUT_REVOKED) || a->n == 0 || a->n > sizeof(a->der))
		return;
	if (write_staple(c->staple_path, a->der, a->n, like, &c->why) == 0)
		c->out = (enum outcome)a->out;
}

static void
refresh_loaded(struct refresh *r, struct one *c)
{
	static unsigned char old[OCSPCHECK_MAX + 1];
	static struct answer a;
	struct stat like = *ocsp_stat(c->cert);
	struct question q = {
		.o = &r->o,
		.cert = c->cert,
		.old = old,
		.now_s = (int64_t)time(NULL),
	};
	char *origin;
	ssize_t n;

	if (ocsp_responder(c->cert) == NULL) {
		c->out = OUT_NONE;
		err_set(&c->why, "the certificate names no responder");
		return;
	}
	origin = fetch_origin(ocsp_responder(c->cert));
	if (origin == NULL) {
		err_set(&c->why, "%s: is no URL of a responder", ocsp_responder(c->cert));
		return;
	}
	n = read_old(c->staple_path, old, sizeof(old), &like);
	q.old_n = n > 0 ? (size_t)n : 0;
	q.is_dead = is_dead(r, origin);
	/* The resolver knows no deadline, so it is this one that ends it, and that is silence, too.
	 */
	if (outside_run(answer, &q, &a, sizeof(a), r->o.timeout_ms + SLACK_MS, &c->why) == 0)
		take_answer(c, &a, &like);
	else
		a.is_silent = true;
	note_silence(r, origin, a.is_silent);
}

static bool
is_seen(struct refresh *r, const char *staple)
{
	for (size_t i = 0; i < r->nseen; i++)
		if (strcmp(r->seen[i], staple) == 0)
			return true;
	r->seen = xreallocarray(r->seen, r->nseen + 1, sizeof(*r->seen));
	r->seen[r->nseen++] = xstrdup(staple);
	return false;
}

static void
refresh_one(void *arg, const struct certpath *p)
{
	struct refresh *r = arg;
	char *beside = p->staple == NULL ? xasprintf("%s.ocsp", p->cert) : NULL;
	struct one c = {
		.cert_path = p->cert,
		.staple_path = p->staple != NULL ? p->staple : beside,
		.out = OUT_FAILED,
	};

	if (!is_seen(r, c.staple_path)) {
		c.cert = ocsp_load(p->cert, &c.why);
		if (c.cert != NULL)
			refresh_loaded(r, &c);
		say(r, &c);
		ocsp_free(c.cert);
	}
	free(beside);
}

static void
say_unlisted(void *arg, const char *dir, const char *why)
{
	struct one c = { .cert_path = dir, .staple_path = dir, .out = OUT_FAILED };

	err_set(&c.why, "cannot be listed: %s", why);
	say(arg, &c);
}

/* ---- the command ---- */

static int
run(const struct site *s, const struct options *o)
{
	struct refresh r = { .o = *o, .json = o->is_json ? json_array() : NULL };

	certpaths_each(s->cfg, refresh_one, say_unlisted, &r);
	if (r.json != NULL) {
		plain_print_json(r.json);
		json_decref(r.json);
	} else if (r.nseen == 0 && !o->is_quiet) {
		printf("%s names no certificate\n", s->file);
	}
	for (size_t i = 0; i < r.nseen; i++)
		free(r.seen[i]);
	for (size_t i = 0; i < r.ndead; i++)
		free(r.dead[i]);
	free(r.seen);
	free(r.dead);
	return r.has_failed ? EXIT_FAILED : EXIT_DONE;
}

static bool
parse(int argc, char **argv, struct options *o)
{
	static const struct option options[] = {
		{ "force", no_argument, NULL, 'f' },
		{ "timeout", required_argument, NULL, 't' },
		{ 0 },
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "jq", options, NULL)) != -1)
		switch (opt) {
		case 'j': o->is_json = true; break;
		case 'q': o->is_quiet = true; break;
		case 'f': o->is_forced = true; break;
		case 't':
			if (units_parse_duration(slice_str(optarg), &o->timeout_ms) &&
				o->timeout_ms > 0)
				break;
			fprintf(stderr, "--timeout %s: expected a duration such as 10s\n", optarg);
			return false;
		default: return false;
		}
	return optind == argc - 1 && strcmp(argv[optind], "refresh") == 0;
}

int
cmd_ocsp(const char *file, int argc, char **argv)
{
	struct options o = { .timeout_ms = TIMEOUT_MS };
	struct site s;
	int code;

	if (!parse(argc, argv, &o))
		return command_usage("ocsp");
	if (site_load(&s, file) < 0)
		return EXIT_USAGE;
	code = run(&s, &o);
	site_free(&s);
	return code;
}
