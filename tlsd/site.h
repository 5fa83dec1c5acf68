/*
 * site: one generation of the configuration, made ready: certificates loaded, contexts built,
 * targets named. Immutable; counted, because a worker keeps it while handshakes that began with it
 * are under way. Made on the main thread.
 */
#ifndef TLSD_SITE_H
#define TLSD_SITE_H

#include "libcommon/daemon.h"
#include "tlsd/certs.h"
#include "tlsd/config.h"
#include "tlsd/listen.h"
#include "tlsd/tlsctx.h"

struct site_listener {
	const struct tlslistencfg *cfg;
	struct tlsctx *ctx;
	struct cert **certs; /* in the order of the configuration */
	size_t ncerts;
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
	uint64_t generation;
};

struct site_env {
	const struct daemon *daemon; /* for descriptors that were passed; may be NULL in tests */
	struct listens *listens;
	struct ticket_keys *tickets;
	const struct site *old; /* NULL at the start */
	uid_t uid;              /* who we will be; (uid_t)-1: who we are */
};

/* NULL with errs. Takes dc over only when it succeeds. Blocks on files. */
struct site *site_new(struct daemon_cfg *dc, const struct site_env *env, struct errs *errs);
struct site *site_ref(struct site *s);
void site_unref(struct site *s);
/* Give up the listeners: once the workers have left it, or never had it. Main thread. */
void site_retire(struct site *s, struct listens *listens);
/* Log an event for each certificate that is expired, or made for trials. */
void site_log_certs(const struct site *s);
/* The event for those that expired after `since_s` and up to `now_s`. */
void site_log_expired(const struct site *s, int64_t since_s, int64_t now_s);

#endif
