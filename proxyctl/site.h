/*
 * site: the configuration as proxyctl needs it: where the control sockets are, which pools there
 * are, and its own section `up`. A site with findings is still a site as far as it could be read:
 * `status` works beside a configuration that has just been broken.
 */
#ifndef PROXYCTL_SITE_H
#define PROXYCTL_SITE_H

#include "libcommon/poolcfg.h"

enum program { PROGRAM_TLSD, PROGRAM_ROUTERD, PROGRAM_HEALTHD };
#define PROGRAM_COUNT 3
extern const char *const program_names[]; /* "tlsd", ..., NULL */

/* The instance of tlsd in the role connect that `up` starts by itself. */
#define SITE_CONNECT_INSTANCE "connect"

enum instance_role { ROLE_NONE, ROLE_CONNECT };

/* One more process that `up` starts. */
struct instancecfg {
	const struct cfg_node *node;
	int program;
	char *name;
	int role;            /* enum instance_role: tlsd's */
	char *config;        /* absolute; NULL: the same file */
	struct cfg_list env; /* struct cfg_pair: for ${NAME} in its configuration */
};

struct upcfg {
	int64_t ocsp_refresh_ms;   /* 0: never */
	struct cfg_list instances; /* struct instancecfg */
};

struct site {
	char *file; /* absolute, as daemons name it: links are followed in its folder alone */
	struct cfg *cfg;
	struct arena arena;
	struct commoncfg common;
	struct upcfg up;
	struct errs errs; /* what was wrong with what is bound here */
	char **run_dirs;  /* its own first, then those of instances that have another */
	size_t nrun_dirs;
};

extern const struct cfg_schema upcfg_schema;

/* -1 with one message on stderr when the file cannot be read at all. */
int site_load(struct site *s, const char *file);
/* The same for who only looks at what runs: of a file that is no YAML just now, what can be read
 * beside the broken part has to do, after the message. */
int site_load_rest(struct site *s, const char *file);
/* The same without a message: what is wrong is in s->errs, and site_free is due in any case. hash
 * is that of the bytes, "" when there are none. */
int site_read(struct site *s, const char *file, char hash[static CFG_HASH]);
void site_free(struct site *s);
/* Is it this file, or one that an instance of `up` runs by? As daemons name theirs. */
bool site_names(const struct site *s, const char *file);
/* What may stand behind -i. */
bool site_is_instance(const char *name);
/* Has the configuration this section? */
bool site_has(const struct site *s, const char *section);
bool site_has_checks(const struct site *s);
/* Is any server spoken to over TLS? */
bool site_has_tls_servers(const struct site *s);
/* Around anything that reads an instance's configuration: what was there before is given back. */
char **site_set_env(const struct instancecfg *i);
void site_restore_env(const struct instancecfg *i, char **before);
/* The configuration file that is used when none is named: $WEIR_CONFIG, ./weir.yaml,
 * /etc/weir/weir.yaml. */
const char *site_default_file(void);

#endif
