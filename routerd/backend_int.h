/*
 * backend_int: what the files of backend share: backend.c (life), backend_use.c
 * (what workers call), backend_mail.c (what they report), backend_judge.c
 * (verdicts and pick tables), backend_names.c (addresses by DNS). busio, status
 * and control look in as well. Everything here belongs to the main thread unless it is atomic.
 */
#ifndef ROUTERD_BACKEND_INT_H
#define ROUTERD_BACKEND_INT_H

#include <uthash.h>

#include "libcommon/log.h"
#include "libcommon/loop.h"
#include "libcommon/resolve.h"
#include "libcommon/verdict.h"
#include "routerd/lb_method.h"

#define POOL_MAGIC 0x706f6f6cu

/* What workers put into a server's mailbox, or'ed. */
enum { MAIL_FAILED = 1, MAIL_UNREACHABLE = 2, MAIL_CHANGED = 4 };

/* A verdict as it was last shown: what events are told against. */
struct shown {
	enum verdict verdict;
	bool is_known; /* judged at least once */
	bool is_stale;
	uint32_t weight;
	uint64_t since_ms;
	uint64_t age_ms;
	uint64_t judged_ms;
	char reason[VERDICT_REASON_MAX];
};

struct server_state {
	UT_hash_handle hh; /* in backends->servers */
	struct backends *b;
	struct server *server;
	unsigned refs; /* pools */
	char *address; /* as configured: part of the key */
	struct addr_spec spec;
	struct verdict_probes probes;
	struct shown shown;
	bool is_probation; /* blocked by us, because its probers fell silent */
	/* names: all addresses, and which one is used */
	struct resolve_watch *watch;
	bool is_answered;
	struct addr *addrs;
	size_t addr_count;
	size_t addr_at;
	/* mailbox: workers write, main empties */
	struct server_state *mail_next;
	_Atomic uint32_t mail;
	_Atomic uint32_t new_fails;
	_Atomic uint32_t fail_kind; /* enum server_outcome of the last one */
	/* what is not published yet as evidence */
	uint32_t unsent_fails;
	struct server_state *retired_next;
	bool is_forgotten; /* retired, and no worker has connections to it but tunnels */
	size_t key_len;
	char key[]; /* pool NUL name NUL address */
};

struct member {
	struct server *server;
	uint32_t weight;
	bool is_backup;
	bool is_down;
};

/* What workers need of a pool comes first; what each of them writes has lines
 * of its own. */
struct pool {
	uint32_t magic;
	_Atomic(struct lb_table *) table;
	_Atomic unsigned refs;
	const char *name;
	const struct poolcfg *cfg; /* dies with the snapshot: workers only */
	struct backends *b;
	uint32_t max_fails;
	uint64_t fail_timeout_ms;
	uint32_t budget_percent;
	uint32_t budget_min;
	bool is_single;
	struct lb_turn turns[LB_TIERS];
	_Alignas(64) _Atomic uint32_t active;
	_Atomic uint32_t retries;
	/* main thread: a copy of what judging needs, since cfg may be gone */
	_Alignas(64) struct pool *prev;
	struct pool *next;
	struct member *members;
	unsigned count;
	const struct lb_method *method;
	bool is_checked;
	bool is_live;
	bool is_dirty;
	bool is_empty;
	bool is_stale;
	uint64_t heard_ms; /* last health message; 0: none */
	uint32_t rise;     /* of its check */
	uint32_t fall;
	uint16_t check_port;
	bool is_tcp_check;
	uint64_t next_ms; /* judge again then; 0: when something is heard */
};

struct backends {
	struct loop *loop;
	struct resolver *resolver;
	const struct backends_ops *ops;
	struct workers *ws; /* NULL: none reads yet */
	struct server_state *servers;
	struct pool *pools; /* of all snapshots that are not gone */
	struct overrides overrides;
	char overrides_error[512]; /* of the last reading; empty when it was good */
	/* ids */
	uint32_t *free_ids;
	unsigned free_count;
	uint32_t next_id;
	struct server_state *retired; /* workers are being told to forget them, or tunnels last */
	struct loop_timer *retire_timer;
	/* judging */
	struct loop_timer *judge_timer;
	struct run_item judge_soon;
	uint64_t judged_ms;
	struct log_limit event_limit;
	/* tables that workers may still read */
	struct lb_table **garbage;
	size_t garbage_count;
	size_t garbage_cap;
	struct lb_table **sweeping;
	size_t sweeping_count;
	/* mailbox */
	_Atomic(struct server_state *) mail;
	_Atomic bool is_mail_posted;
	struct loop_timer *mail_timer;
	void (*on_evidence)(void *arg);
	void *evidence_arg;
};

/* --- backend.c --- */
/* Entries of the operators that no live pool has a server for. */
unsigned backends_unmatched_overrides(const struct backends *b);
struct server_state *backends_find(
	struct backends *b, const char *pool, const char *name, const char *address);
struct pool *backends_live(const struct backends *b, const char *pool);

/* --- backend_use.c --- */
void server_set_addr(struct server *s, const struct addr *a);

/* --- backend_mail.c --- */
void backend_mail_init(struct backends *b);
void backend_mail_fini(struct backends *b);
/* Any thread. */
void backend_mail_put(struct server_state *st, uint32_t what);
/* Everything that lies in the mailbox is worked off now. */
void backend_mail_empty(struct backends *b);

/* --- backend_judge.c --- */
void backend_judge_init(struct backends *b);
void backend_judge_fini(struct backends *b);
/* Judge all generations of this pool soon. */
void backend_judge_named(struct backends *b, const char *pool);
/* A health message: what it says of servers we have. How many it knew. */
unsigned backend_judge_adopt(struct backends *b, const struct busmsg *m);
/* At once: compiles and publishes. */
void backend_judge_now(struct pool *p);
/* After that: the timer for what changes by time alone. */
void backend_judge_rearm(struct backends *b);

/* --- backend_names.c --- */
/* Begin to watch the server's name, if it has one and is not watched yet. */
void backend_names_watch(struct server_state *st);
void backend_names_unwatch(struct server_state *st);
/* Connecting failed: the next of several addresses is used. */
void backend_names_rotate(struct server_state *st);

#endif
