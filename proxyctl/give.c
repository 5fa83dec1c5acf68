/*
 * give: see the header. A daemon takes as many descriptors as half of its limit; what it does not
 * take it will miss, and say so.
 */
#include "proxyctl/give.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcommon/ctl.h"
#include "libcommon/mem.h"
#include "proxyctl/certpaths.h"

enum { ASK_MS = 5000 };

struct given {
	int fds[CTL_FDS_MAX];
	size_t n;
	struct sbuf line;
};

/* One line's worth; what cannot be given is for the daemon to miss. */
static void
give_flush(struct member *m, struct given *g)
{
	if (g->n > 0)
		fleet_ask_one(m, g->line.p, g->fds, g->n, ASK_MS);
	for (size_t i = 0; i < g->n; i++)
		close(g->fds[i]);
	g->n = 0;
	sbuf_clear(&g->line);
}

static void
give(struct member *m, struct given *g, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return;
	if (g->n == CTL_FDS_MAX || g->line.n + strlen(path) * 2 + 8 > CTL_LINE_MAX)
		give_flush(m, g);
	if (g->n == 0)
		sbuf_adds(&g->line, "give");
	ctlproto_add_word(&g->line, path);
	g->fds[g->n++] = fd;
}

static void
give_scalar(struct member *m, struct given *g, const struct cfg *cfg, const struct cfg_node *map,
	const char *key)
{
	const struct cfg_node *n = cfg_get(map, key);
	struct arena a;

	if (n == NULL || n->kind != CFG_SCALAR || n->text.n == 0)
		return;
	arena_init(&a, 0);
	give(m, g, cfg_path(cfg, &a, n->text));
	arena_fini(&a);
}

/* Who gets what certpaths_each finds. */
struct giving {
	struct member *m;
	struct given *g;
};

static void
give_pair(void *arg, const struct certpath *p)
{
	const struct giving *to = arg;

	give(to->m, to->g, p->cert);
	if (strcmp(p->key, p->cert) != 0)
		give(to->m, to->g, p->key);
}

static void
pass_over(void *arg, const char *dir, const char *why)
{
	(void)arg;
	(void)dir;
	(void)why;
}

static void
give_certificates(struct member *m, struct given *g, const struct cfg *cfg)
{
	struct giving to = { m, g };

	certpaths_each(cfg, give_pair, pass_over, &to);
}

/* upstream_tls.policies.*: what is for servers that ask, and none of the listeners' keys. */
static void
give_policies(struct member *m, struct given *g, const struct cfg *cfg)
{
	const struct cfg_node *section = cfg_get(cfg->root, "upstream_tls");
	const struct cfg_node *all = cfg_get(section, "policies");

	if (all == NULL || all->kind != CFG_MAPPING)
		return;
	for (const struct cfg_node *p = all->first; p != NULL; p = p->next) {
		give_scalar(m, g, cfg, p, "cert");
		give_scalar(m, g, cfg, p, "key");
	}
}

void
give_files(struct member *m, const char *file, const struct cfg *cfg)
{
	struct given g = { 0 };
	/* Of its `status`, before it is asked for anything else. */
	bool is_connecting = json_object_get(m->answer, "role") != NULL;

	give(m, &g, file);
	if (strcmp(m->program, "tlsd") == 0 && cfg != NULL && is_connecting)
		give_policies(m, &g, cfg);
	else if (strcmp(m->program, "tlsd") == 0 && cfg != NULL)
		give_certificates(m, &g, cfg);
	give_flush(m, &g);
	sbuf_fini(&g.line);
}

void
give_tls_files(struct member *m, const char *file)
{
	struct errs errs = { 0 };
	char hash[CFG_HASH];
	struct cfg *cfg = cfg_load_hash(file, hash, &errs);
	struct given g = { 0 };

	if (cfg != NULL)
		give_certificates(m, &g, cfg);
	give_flush(m, &g);
	sbuf_fini(&g.line);
	cfg_free(cfg);
	errs_fini(&errs);
}
