/*
 * config_pass: the part of the schema that is about names passed through: what config.c binds and
 * has checked, and what it shares with it. Nobody else includes it.
 */
#ifndef TLSD_CONFIG_PASS_H
#define TLSD_CONFIG_PASS_H

#include "tlsd/config.h"

extern const struct cfg_schema passcfg_schema;

/* "unix:PATH" counts from the file's folder when it is relative. */
char *config_absolute(struct cfg_ctx *ctx, char *to);
/* An address that can be connected to without asking anybody. false: it was reported, at key `to`.
 */
bool config_address(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path,
	const char *text, struct addr *out);
/* A name leads to one place. */
void config_pass_names(struct cfg_ctx *ctx, const char *path, const struct tlslistencfg *l);
/* And that place is none of ours, where it would begin again. */
void config_pass_circles(struct cfg_ctx *ctx, const struct tlscfg *t);

#endif
