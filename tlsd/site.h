/*
 * site: one generation of the configuration, made ready: certificates loaded, contexts built,
 * targets named. Immutable; counted, because a worker keeps it while handshakes that began with it
 * are under way. Made on the main thread.
 */
#ifndef TLSD_SITE_H
#define TLSD_SITE_H

#include "libcommon/daemon.h"
#include "tlsd/certheld.h"
#include "tlsd/certlife.h"
#include "tlsd/certs.h"
#include "tlsd/clientauth.h"
#include "tlsd/config.h"
#include "tlsd/listen.h"
#include "tlsd/tlsctx.h"

#define SITE_LOOK_S 5

struct site_listener {
	const struct tlslistencfg *cfg;
	struct tlsctx *ctx;
	struct cert **certs;              /* in the order of the configuration */
	struct cert **waiting;            /* what certs[i] stands in for; NULL: nothing */
	const struct certcfg **cert_cfgs; /* which entry each one is of */
	size_t ncerts;
	struct sni_index *passes; /* names to numbers of cfg->passthrough */
	size_t npass;
	bool has_to_peek;              /* who answers depends on the first message */
	struct clientauth *auth;       /* NULL: clients are not asked for certificates */
	struct listen *listen;         /* the sockets, which outlive the site */
	char *folder;                  /* where routerd's instances listen; NULL: cfg->to_addr */
	struct sockaddr_storage local; /* what clients connected to, when it is one address */
	bool has_local;
};

struct site {
	_Atomic unsigned refs;
	struct daemon_cfg *dc; /* ours */
	const struct tlscfg *cfg;
	struct site_listener *listeners;
	size_t nlisteners;
	struct certheld_index held; /* what its listeners have, by files */
	int64_t at_s;      /* certificates and staples were judged by then, seconds since 1970 */
	int64_t due_s;     /* when another certificate may be the better one */
	struct site *next; /* for its owner's lists */
};

struct site_env {
	const struct daemon *daemon; /* for descriptors that were passed; may be NULL in tests */
	struct listens *listens;
	struct ticket_keys *tickets;
	struct sesscache *cache;
	const struct site *old; /* NULL at the start */
	uid_t uid;              /* who we will be; (uid_t)-1: who we are */
	/* Only certificates are loaded anew: where that fails, the old one goes on. */
	bool keeps_old;
};

/* NULL with errs. Takes dc over only when it succeeds. Blocks on files. With keeps_old there may be
 * errors and a site: what they are about has not changed. */
struct site *site_new(struct daemon_cfg *dc, const struct site_env *env, struct errs *errs);
struct site *site_ref(struct site *s);
void site_unref(struct site *s);
/* Give up the listeners: once the workers have left it, or never had it. Main thread. */
void site_retire(struct site *s, struct listens *listens);
/* What its certificates are used for. */
struct certuse site_use(const struct site *s, const struct site_listener *l);
/* The same objects in the same places. */
bool site_serves_same_certs(const struct site *a, const struct site *b);
bool site_has_same_waiting(const struct site *a, const struct site *b);
/* Time has made it worth making again: a certificate that another one waits behind, or a staple
 * that must be shown, is about to be over. Asked every SITE_LOOK_S. */
bool site_is_due(const struct site *s, int64_t now_s);
/* Events for certificates that `old` (may be NULL) does not have: what is served now, what it
 * replaces, whether it is expired, soon will be, cannot be stapled, waits for its staple, or is for
 * trials. */
void site_log_certs(const struct site *s, const struct site *old);
/* Events for what time has brought between `since_s` and `now_s`: certificates that expired, or
 * will soon (once a day), and staples that are out of date. */
void site_log_time(const struct site *s, int64_t since_s, int64_t now_s);

#endif
