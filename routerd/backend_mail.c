/*
 * backend_mail: news from workers to the main thread. A server that has news is
 * pushed once onto a list that the main thread takes as a whole; it is woken at
 * most every MAIL_EVERY_MS, however much fails.
 */
#include "routerd/backend_int.h"

#define MAIL_EVERY_MS 50

static void on_mail(void *arg);

void
backend_mail_put(struct server_state *st, uint32_t what)
{
	struct backends *b = st->b;

	if (atomic_fetch_or(&st->mail, what) == 0) {
		struct server_state *head = atomic_load(&b->mail);

		do
			st->mail_next = head;
		while (!atomic_compare_exchange_weak(&b->mail, &head, st));
	}
	if (!atomic_exchange(&b->is_mail_posted, true))
		loop_post(b->loop, on_mail, b);
}

static void
read_mail(struct server_state *st)
{
	uint32_t what = atomic_exchange(&st->mail, 0);

	st->unsent_fails += atomic_exchange(&st->new_fails, 0);
	if (what & MAIL_UNREACHABLE)
		backend_names_rotate(st);
	if (what & (MAIL_CHANGED | MAIL_FAILED))
		backend_judge_named(st->b, st->server->pool_name);
}

void
backend_mail_empty(struct backends *b)
{
	struct server_state *st = atomic_exchange(&b->mail, NULL);
	bool is_news = st != NULL;

	while (st) {
		/* Once its bits are taken it may be pushed again, with another next. */
		struct server_state *next = st->mail_next;

		read_mail(st);
		st = next;
	}
	if (is_news && b->on_evidence)
		b->on_evidence(b->evidence_arg);
}

/* The bell stays muted until the timer has run. */
static void
on_mail(void *arg)
{
	struct backends *b = arg;

	backend_mail_empty(b);
	loop_timer_set(b->mail_timer, MAIL_EVERY_MS, false);
}

static void
on_mail_timer(void *arg)
{
	struct backends *b = arg;

	atomic_store(&b->is_mail_posted, false);
	if (atomic_load(&b->mail) && !atomic_exchange(&b->is_mail_posted, true))
		on_mail(b);
}

void
backend_mail_init(struct backends *b)
{
	b->mail_timer = loop_timer_new(b->loop, on_mail_timer, b);
}

void
backend_mail_fini(struct backends *b)
{
	loop_timer_free(b->mail_timer);
}
