/*
 * config_client: the schema of `tls.listen[].client_auth`, and its files. Driven by cfgbind and
 * config.c.
 */
#include "tlsd/config_client.h"

#include "tlsd/clientauth.h"

static const char *const client_auth_words[] = { "require", "optional", "optional_no_ca", NULL };

static void
client_auth_check(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *obj)
{
	const struct clientauthcfg *c = obj;

	if (c->ca == NULL && c->mode != CLIENT_AUTH_OPTIONAL_NO_CA)
		errs_add(ctx->errs, FINDING_ERROR, cfg_at(ctx->cfg, node), path,
			"has no `ca`, expected a PEM file of the authorities whose clients are "
			"believed");
	if (c->ca == NULL && c->crl != NULL)
		errs_add(ctx->errs, FINDING_ERROR, cfg_at(ctx->cfg, cfg_get(node, "crl")), path,
			"has `crl` without `ca`: nothing can be revoked");
}

static const struct cfg_row client_auth_rows[] = {
	CFG_NODE_ROW(struct clientauthcfg, node),
	CFG_ROW(struct clientauthcfg, mode, "mode", CFGT_ENUM, .def = "require",
		.choices = client_auth_words,
		.help = "require: no connection without a certificate that is verified; optional: "
			"clients may come without; optional_no_ca: and with one whose issuer is "
			"not known"),
	CFG_ROW(struct clientauthcfg, ca, "ca", CFGT_PATH,
		.help = "PEM file of the authorities whose clients are believed"),
	CFG_ROW(struct clientauthcfg, crl, "crl", CFGT_PATH,
		.help = "PEM file of revocation lists, one for each authority of a chain"),
	CFG_ROW(struct clientauthcfg, depth, "depth", CFGT_INT, .def = "1", .max = 10,
		.help = "intermediate authorities between a client's certificate and one of `ca`"),
	CFG_END,
};

const struct cfg_schema client_auth_schema = {
	.name = "client_auth",
	.size = sizeof(struct clientauthcfg),
	.rows = client_auth_rows,
	.check = client_auth_check,
};

void
config_check_client_auth(struct cfg_ctx *ctx, const struct clientauthcfg *c, const char *path)
{
	struct err err = { "" };
	struct err_at at = cfg_at(ctx->cfg, c->node);
	struct clientauth *a = clientauth_load(c, &err);

	if (a == NULL)
		errs_add(ctx->errs, FINDING_ERROR, at, path, "%s", err.text);
	else
		clientauth_warn(a, at, path, ctx->errs);
	clientauth_unref(a);
}
