/*
 * server: start, reload, drain and stop. A reload is prepared here on the main thread while the
 * workers go on; the commit posts the new site to each, and is over when all have answered.
 */
#include <pwd.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "libcommon/clock.h"
#include "libcommon/folder.h"
#include "libcommon/mem.h"
#include "libcommon/sock.h"
#include "tlsd/announce.h"
#include "tlsd/certctl.h"
#include "tlsd/certfiles.h"
#include "tlsd/challenge.h"
#include "tlsd/server.h"
#include "tlsd/ticketfile.h"

#define DUE_AGAIN_S  60   /* what was due and could not be loaded is tried again after this */
#define FDS_RESERVED 96   /* listeners, loops, control socket, files of a reload */
#define FDS_PIPES    1024 /* with fewer there are no pipes */
#define PIPES_MAX    64   /* of a worker */

static unsigned
count_workers(const struct tlscfg *cfg)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	if (cfg->workers > 0)
		return (unsigned)cfg->workers;
	return cores < 1 ? 1 : cores > 64 ? 64 : (unsigned)cores;
}

/* Pipes for what passes through untouched: an eighth of the descriptors, for all workers. */
static unsigned
pipes_of(unsigned nworkers)
{
	uint64_t fds = sock_raise_nofile();
	uint64_t share = fds / 16 / nworkers;

	return fds < FDS_PIPES ? 0 : share < PIPES_MAX ? (unsigned)share : PIPES_MAX;
}

/* Each connection takes two descriptors: the client's and the server's. */
static void
set_max(struct server *s)
{
	uint64_t fds = sock_raise_nofile();
	uint64_t kept = FDS_RESERVED + 2 * (uint64_t)s->pool.pipes * s->nworkers;
	uint64_t most = fds > kept + 2 ? (fds - kept) / 2 : 1;
	uint64_t want = (uint64_t)s->site->cfg->max_connections;

	if (want > most)
		LOG_WARN("max_connections_lowered", L_INT("asked", want), L_INT("now", most),
			L_INT("descriptors", fds));
	atomic_store(&s->pool.max, want == 0 || want > most ? most : want);
}

static uid_t
future_uid(const struct daemon_cfg *dc)
{
	const char *name = config_user(dc);
	const struct passwd *pw = name != NULL && geteuid() == 0 ? getpwnam(name) : NULL;

	return pw != NULL ? pw->pw_uid : (uid_t)-1;
}

static struct site_env
env_of(const struct server *s, const struct daemon_cfg *dc)
{
	return (struct site_env){
		.daemon = s->daemon,
		.listens = s->listens,
		.tickets = s->tickets,
		.cache = s->cache,
		.old = s->site,
		.uid = future_uid(dc),
	};
}

static void make_tickets_folder(const struct server *s, const struct daemon_cfg *dc);

static void
free_server(struct server *s)
{
	if (s->site != NULL) {
		site_retire(s->site, s->listens);
		site_unref(s->site);
	}
	listens_free(s->listens);
	ticket_keys_free(s->tickets);
	sesscache_free(s->cache);
	backends_free(s->pool.backends);
	challenges_free(s->pool.challenges);
	free(s->workers);
	free(s);
}

void *
server_start(struct daemon *d, struct daemon_cfg *dc, struct errs *errs)
{
	struct server *s = xcalloc(1, sizeof(*s));
	const struct tlscfg *cfg = dc->own;

	s->daemon = d;
	s->nworkers = count_workers(cfg);
	s->pool.pipes = pipes_of(s->nworkers);
	s->workers = xcalloc(s->nworkers, sizeof(*s->workers));
	s->listens = listens_new(s->nworkers);
	s->pool.backends = backends_new();
	s->pool.main_loop = daemon_loop(d);
	s->pool.challenges = challenges_new(s->pool.main_loop);
	s->tickets = ticket_keys_new(clock_ms(), cfg->tickets.rotate_ms);
	s->cache = sesscache_new(cfg->session_cache.size, cfg->session_cache.timeout_ms);
	if (s->tickets == NULL) {
		errs_add(errs, FINDING_ERROR, (struct err_at){ .file = NULL }, "tls.tickets",
			"no memory or randomness for ticket keys");
		free_server(s);
		return NULL;
	}

	struct site_env env = env_of(s, dc);

	make_tickets_folder(s, dc);
	s->files_state = s->files_last = certfiles_state(cfg);
	s->site = site_new(dc, &env, errs);
	if (s->site == NULL) {
		free_server(s);
		return NULL;
	}
	config_files_checked_elsewhere();
	site_log_certs(s->site, NULL);
	set_max(s);
	return s;
}

/* ---- ticket keys ---- */

#define SHARE_AGAIN_MS 60000 /* the file could not be used: look again */

static char *
tickets_folder(const struct daemon_cfg *dc)
{
	return xasprintf("%s/tickets", dc->common.state_dir);
}

/* While we may; a reload that switches sharing on does it, too. */
static void
make_tickets_folder(const struct server *s, const struct daemon_cfg *dc)
{
	const struct tlscfg *cfg = dc->own;
	char *folder = tickets_folder(dc);

	if (cfg->tickets.enabled && cfg->tickets.shared) {
		(void)folder_make(dc->common.state_dir, 0755);
		if (mkdir(folder, 0700) == 0)
			daemon_own(s->daemon, folder);
	}
	free(folder); /* what went wrong shows when the file is used */
}

static int64_t
use_book(struct server *s, const struct ticket_book *b, int64_t wall_ms)
{
	const struct ticket_key *keys[TICKET_KEYS_MAX];
	size_t current = ticket_book_current(b, wall_ms);

	for (size_t i = 0; i < b->n; i++)
		keys[i] = &b->v[i].key;
	if (ticket_keys_share(s->tickets, keys, b->n, current, clock_ms()) && s->is_sharing_tickets)
		LOG_INFO("ticket_keys", L_INT("keys", ticket_keys_count(s->tickets)),
			L_STR("shared", "yes"));
	return ticket_book_wait_ms(b, wall_ms);
}

/* How long until it is to be looked at again; 0: the file cannot be used. */
static int64_t
share_tickets(struct server *s)
{
	const struct ticketcfg *cfg = &s->site->cfg->tickets;
	struct ticket_book book = { .n = 0 };
	char *folder = tickets_folder(s->site->dc);
	struct timespec t;
	struct err err;
	int64_t wait = 0;

	clock_gettime(CLOCK_REALTIME, &t);

	int64_t wall_ms = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
	bool is_done = ticketfile_turn(folder, wall_ms, cfg->rotate_ms, &book, &err) == 0;

	if (is_done)
		wait = use_book(s, &book, wall_ms);
	else if (s->is_sharing_tickets || s->ticket_warned_ms == 0)
		LOG_WARN("ticket_keys_not_shared", L_STR("text", err.text));
	s->ticket_warned_ms = is_done ? 0 : clock_ms();
	s->is_sharing_tickets = is_done;
	OPENSSL_cleanse(&book, sizeof(book));
	free(folder);
	return wait;
}

static void
turn_tickets(void *arg)
{
	struct server *s = arg;
	const struct ticketcfg *cfg = &s->site->cfg->tickets;
	bool wants_shared = cfg->enabled && cfg->shared;
	int64_t wait = wants_shared ? share_tickets(s) : 0;

	if (wait == 0) {
		s->is_sharing_tickets = false;
		if (ticket_keys_turn(s->tickets, clock_ms()))
			LOG_INFO("ticket_keys", L_INT("keys", ticket_keys_count(s->tickets)),
				L_STR("shared", "no"));
		wait = ticket_keys_wait_ms(s->tickets, clock_ms());
		if (wants_shared && wait > SHARE_AGAIN_MS)
			wait = SHARE_AGAIN_MS;
	}
	loop_timer_set(s->ticket_timer, (uint64_t)wait, false);
}

/* ---- commit ---- */

static void
sites_left(struct server *s)
{
	while (s->leaving != NULL) {
		struct site *gone = s->leaving;

		s->leaving = gone->next;
		site_retire(gone, s->listens);
		site_unref(gone);
	}
}

static void
on_adopted(void *arg)
{
	struct server *s = arg;

	if (--s->pending > 0)
		return;
	sites_left(s);
	if (s->is_committing)
		daemon_committed(s->daemon);
	s->is_committing = false;
	if (s->waiting != NULL)
		certctl_answer(s->waiting);
	s->waiting = NULL;
}

/* Orders reach a worker one after the other, so the last answer is for all that was posted. */
static void
adopt_everywhere(struct server *s)
{
	s->pending += s->nstarted;
	for (unsigned i = 0; i < s->nstarted; i++)
		worker_adopt(&s->workers[i], s->site, on_adopted);
}

static void
replace_site(struct server *s, struct site *fresh)
{
	s->site->next = s->leaving;
	s->leaving = s->site;
	s->site = fresh;
	site_log_certs(fresh, s->leaving);
	adopt_everywhere(s);
}

/* ---- certificates that change or expire while we run ---- */

bool
server_reload_certs(struct server *s, bool *has_changed, struct errs *errs)
{
	struct daemon_cfg *dc = daemon_cfg_ref(s->site->dc);
	struct site_env env = env_of(s, dc);
	bool is_due = site_is_due(s->site, (int64_t)time(NULL));

	*has_changed = false;
	s->files_state = s->files_last = certfiles_state(s->site->cfg);
	env.keeps_old = true;

	struct site *fresh = site_new(dc, &env, errs);

	if (fresh == NULL) {
		daemon_cfg_free(dc);
		return false;
	}
	*has_changed = !site_serves_same_certs(fresh, s->site);
	if (!*has_changed && !is_due && site_has_same_waiting(fresh, s->site)) {
		site_retire(fresh, s->listens);
		site_unref(fresh);
		return false;
	}
	replace_site(s, fresh);
	return true;
}

/* A prepared candidate has certificates of its own: until it is in force or gone, nothing is
 * loaded. */
static bool
may_reload_certs(const struct server *s)
{
	return !s->is_prepared && !daemon_is_draining(s->daemon);
}

/* Not at anybody's wish: what went wrong goes into the log. */
static bool
reload_unasked(struct server *s)
{
	struct errs errs = { 0 };
	bool has_changed;
	bool is_adopting = server_reload_certs(s, &has_changed, &errs);

	for (size_t i = 0; i < errs.n; i++)
		if (errs.v[i].level == FINDING_ERROR)
			LOG_ERROR("cert_reload_failed", L_STR("path", errs.v[i].path),
				L_STR("text", errs.v[i].text));
	errs_fini(&errs);
	return is_adopting;
}

static void
look_at_certs(void *arg)
{
	struct server *s = arg;
	int64_t now = (int64_t)time(NULL);

	site_log_time(s->site, s->certs_seen_s, now);
	s->certs_seen_s = now;
	if (!site_is_due(s->site, now) || !may_reload_certs(s) ||
		(s->due_failed_s != 0 && now - s->due_failed_s < DUE_AGAIN_S))
		return;
	s->due_failed_s = reload_unasked(s) ? 0 : now;
}

/* Files that have changed, and not again since the last look: their writer is done. */
static void
look_at_files(void *arg)
{
	struct server *s = arg;
	uint64_t state = certfiles_state(s->site->cfg);
	bool is_settled = state == s->files_last;

	s->files_last = state;
	if (state != s->files_state && is_settled && may_reload_certs(s))
		(void)reload_unasked(s);
}

static void
watch_files(struct server *s)
{
	if (s->site->cfg->watch_ms > 0)
		loop_timer_set(s->watch_timer, (uint64_t)s->site->cfg->watch_ms, true);
	else
		loop_timer_stop(s->watch_timer);
}

int
server_run(void *self, struct err *err)
{
	struct server *s = self;

	for (unsigned i = 0; i < s->nworkers; i++) {
		if (worker_start(&s->workers[i], i, &s->pool, s->nworkers, s, err) < 0)
			return -1;
		s->nstarted++;
	}
	s->announce = announce_new(s->daemon, err);
	if (s->announce == NULL)
		return -1;
	adopt_everywhere(s);
	s->ticket_timer = loop_timer_new(daemon_loop(s->daemon), turn_tickets, s);
	turn_tickets(s);
	s->certs_seen_s = (int64_t)time(NULL);
	s->cert_timer = loop_timer_new(daemon_loop(s->daemon), look_at_certs, s);
	loop_timer_set(s->cert_timer, SITE_LOOK_S * 1000, true);
	s->watch_timer = loop_timer_new(daemon_loop(s->daemon), look_at_files, s);
	watch_files(s);
	return 0;
}

void *
server_prepare(void *self, struct daemon_cfg *dc, struct errs *errs)
{
	struct server *s = self;
	struct site_env env = env_of(s, dc);
	const struct tlscfg *cfg = dc->own;

	s->candidate_state = certfiles_state(cfg); /* later changes show at the next look */

	struct site *candidate = site_new(dc, &env, errs);

	s->is_prepared = candidate != NULL;
	return candidate;
}

void
server_commit(void *self, void *candidate, struct daemon_cfg *dc)
{
	struct server *s = self;

	(void)dc; /* the candidate has it */
	s->is_committing = true;
	s->is_prepared = false;
	s->files_state = s->files_last = s->candidate_state;
	replace_site(s, candidate);
	ticket_keys_set(s->tickets, s->site->cfg->tickets.rotate_ms);
	sesscache_set(
		s->cache, s->site->cfg->session_cache.size, s->site->cfg->session_cache.timeout_ms);
	make_tickets_folder(s, s->site->dc);
	turn_tickets(s);
	set_max(s);
	watch_files(s);
}

void
server_discard(void *self, void *candidate)
{
	struct server *s = self;
	struct site *site = candidate;

	s->is_prepared = false;
	site->dc = NULL; /* stays the caller's */
	site_retire(site, s->listens);
	site_unref(site);
}

/* ---- the end ---- */

static void
on_drained(void *arg)
{
	struct server *s = arg;

	if (--s->undrained == 0)
		daemon_drained(s->daemon);
}

void
server_drain(void *self)
{
	struct server *s = self;

	s->undrained = s->nstarted;
	for (unsigned i = 0; i < s->nstarted; i++)
		worker_drain(&s->workers[i], on_drained);
}

void
server_cut(void *self)
{
	struct server *s = self;

	for (unsigned i = 0; i < s->nstarted; i++)
		worker_cut(&s->workers[i]);
}

void
server_stop(void *self)
{
	struct server *s = self;

	for (unsigned i = 0; i < s->nstarted; i++)
		worker_stop(&s->workers[i]);
	if (s->waiting != NULL)
		certctl_answer(s->waiting);
	announce_free(s->announce);
	if (s->ticket_timer != NULL)
		loop_timer_free(s->ticket_timer);
	if (s->cert_timer != NULL)
		loop_timer_free(s->cert_timer);
	if (s->watch_timer != NULL)
		loop_timer_free(s->watch_timer);
	sites_left(s);
	free_server(s);
}
