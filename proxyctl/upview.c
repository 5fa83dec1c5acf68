/*
 * upview: see the header.
 */
#include "proxyctl/upview.h"

#include <jansson.h>
#include <string.h>

#include "libcommon/units.h"
#include "proxyctl/table.h"

/* ---- what `up` says ---- */

/* Words of `up` for those that it is about to start, or has just started. */
static bool
is_coming(const json_t *process)
{
	const char *state = fleet_text(process, "state");

	return strcmp(state, "restarting") == 0 || strcmp(state, "starting") == 0;
}

/* Of two with one name, in run directories of their own, those that answer are told apart. */
static bool
is_of(const struct member *m, const json_t *process)
{
	return strcmp(m->name, fleet_text(process, "name")) == 0 && m->process == NULL &&
		(m->state != MEMBER_OK ||
			json_equal(json_object_get(m->answer, "pid"),
				json_object_get(process, "pid")));
}

static void
take_process(struct fleet *f, const char *dir, json_t *process)
{
	const char *name = fleet_text(process, "name");
	struct member *m = NULL;

	for (size_t i = 0; i < f->n && m == NULL; i++)
		if (is_of(&f->v[i], process))
			m = &f->v[i];
	if (m == NULL && is_coming(process))
		m = fleet_add_gone(f, dir, name);
	if (m != NULL)
		m->process = json_incref(process);
}

void
upview_take(struct fleet *f)
{
	for (size_t i = 0; i < f->n;) {
		struct member *up = &f->v[i];
		json_t *all;
		json_t *process;
		char *dir;
		size_t k;

		if (strcmp(up->program, "up") != 0) {
			i++;
			continue;
		}
		all = json_incref(json_object_get(up->answer, "processes"));
		dir = xstrndup(up->path, (size_t)(strrchr(up->path, '/') - up->path));
		fleet_drop(f, up);
		json_array_foreach(all, k, process)
		{
			take_process(f, dir, process);
		}
		json_decref(all);
		free(dir);
	}
}

const char *
upview_state(const struct member *m)
{
	return is_coming(m->process) ? fleet_text(m->process, "state") : NULL;
}

/* ---- files ---- */

void
upview_look(struct fleet *f, const struct site *s)
{
	for (size_t i = 0; i < f->n; i++) {
		struct member *m = &f->v[i];
		const char *file = fleet_text(m->answer, "config");

		m->on_disk[0] = '\0';
		if (m->state == MEMBER_OK && file[0] != '\0' &&
			(!m->is_stranger || site_names(s, file)))
			(void)cfg_hash_file(file, m->on_disk);
	}
}

static bool
is_older(const struct member *m)
{
	return m->on_disk[0] != '\0' && strcmp(m->on_disk, fleet_text(m->answer, "hash")) != 0;
}

/* Why nobody runs by what the file holds now, if `up` has found out. */
static const char *
reason_of(const struct member *m)
{
	const json_t *older = json_object_get(m->process, "older");

	return strcmp(fleet_text(older, "on_disk"), m->on_disk) == 0 ? fleet_text(older, "reason")
								     : "";
}

/* ---- shown ---- */

static void
show_restart(const struct member *m, bool is_coloured, struct sbuf *out)
{
	const json_t *in_ms = json_object_get(m->process, "restart_in_ms");
	struct sbuf text = { 0 };

	if (m->state == MEMBER_OK || !json_is_integer(in_ms))
		return;
	sbuf_addf(&text, "%s: ended with %s, is started again in ", m->name,
		fleet_text(m->process, "last_end"));
	units_format_age(&text, (uint64_t)json_integer_value(in_ms));
	tint_add(out, is_coloured, TINT_YELLOW, text.p);
	sbuf_addc(out, '\n');
	sbuf_fini(&text);
}

/* Once for a file: with those behind m that run by the same. */
static void
show_older(const struct fleet *f, size_t first, bool is_coloured, struct sbuf *out)
{
	const char *file = fleet_text(f->v[first].answer, "config");
	const char *reason = "";
	struct sbuf text = { 0 };

	for (size_t i = 0; i < f->n; i++) {
		const struct member *m = &f->v[i];

		if (!is_older(m) || strcmp(fleet_text(m->answer, "config"), file) != 0)
			continue;
		if (i < first) {
			sbuf_fini(&text);
			return;
		}
		sbuf_addf(&text, "%s%s", text.n > 0 ? ", " : "", m->name);
		if (reason[0] == '\0')
			reason = reason_of(m);
	}
	sbuf_addf(&text, ": by an older configuration than %s holds; %s", file,
		reason[0] != '\0' ? reason : "`check` tells whether `reload` will take it");
	tint_add(out, is_coloured, TINT_YELLOW, text.p);
	sbuf_addc(out, '\n');
	sbuf_fini(&text);
}

void
upview_show(const struct fleet *f, bool is_coloured, struct sbuf *out)
{
	for (size_t i = 0; i < f->n; i++)
		show_restart(&f->v[i], is_coloured, out);
	for (size_t i = 0; i < f->n; i++)
		if (is_older(&f->v[i]))
			show_older(f, i, is_coloured, out);
}
