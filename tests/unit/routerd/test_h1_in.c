/*
 * A body from one stream to another: which bytes go together. Streams that give what they are told,
 * and count what is written in one call.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "routerd/h1_in.h"
#include "routerd/h1_out.h"

enum { FIRST = 16384, CALLS = 16 };

struct fake {
	struct stream s;
	/* what is read */
	size_t left;
	ssize_t then;
	unsigned reads;
	/* what was written, by call */
	size_t written[CALLS];
	unsigned writes;
	unsigned pulls;
};

struct way {
	struct loop *loop;
	struct bufs bufs;
	uint64_t held;
	struct fake from;
	struct fake to;
	struct buf *inbuf;
	struct h1_in in;
	struct h1_out out;
	unsigned ends;
};

static struct fake *
of(struct stream *s)
{
	return (struct fake *)(void *)((char *)s - offsetof(struct fake, s));
}

static ssize_t
fake_read(struct stream *s, void *p, size_t n)
{
	struct fake *f = of(s);

	f->reads++;
	if (f->left == 0) {
		s->readable = f->then != STREAM_AGAIN;
		return f->then;
	}
	if (n > f->left)
		n = f->left;
	memset(p, 'x', n);
	f->left -= n;
	return (ssize_t)n;
}

static ssize_t
fake_write(struct stream *s, const struct iovec *v, int n)
{
	struct fake *f = of(s);
	size_t all = 0;

	for (int i = 0; i < n; i++)
		all += v[i].iov_len;
	assert_true(f->writes < CALLS);
	f->written[f->writes++] = all;
	return (ssize_t)all;
}

static ssize_t
fake_read_pipe(struct stream *s, int pipe_fd, size_t n)
{
	(void)pipe_fd;
	(void)n;
	of(s)->pulls++;
	s->readable = false;
	return STREAM_AGAIN;
}

static ssize_t
fake_write_pipe(struct stream *s, int pipe_fd, size_t n)
{
	(void)s;
	(void)pipe_fd;
	return (ssize_t)n;
}

static const struct stream_ops copied = {
	.read = fake_read, .write = fake_write, .read_pipe = fake_read_pipe
};
static const struct stream_ops piped = {
	.read = fake_read, .write = fake_write, .write_pipe = fake_write_pipe
};

static void
on_end(struct h1_in *in)
{
	struct way *w = (struct way *)(void *)((char *)in - offsetof(struct way, in));

	w->ends++;
}

/* A body of `length` bytes whose first FIRST were read with its head; `behind` are there, too. */
static struct way *
begin(uint64_t length, size_t behind, ssize_t then, const struct stream_ops *to)
{
	struct way *w = calloc(1, sizeof(*w));

	w->loop = loop_new();
	bufs_init(&w->bufs, 4, &w->held);
	bufs_set_limit(&w->bufs, UINT64_MAX);
	w->from.s.ops = &copied;
	w->from.s.readable = true;
	w->from.left = behind;
	w->from.then = then;
	w->to.s.ops = to;
	w->to.s.writable = true;
	w->inbuf = buf_get(&w->bufs, BUF_16K);
	w->inbuf->w = FIRST;
	h1_out_init(&w->out, w->loop, &w->to.s, &w->bufs, false);
	w->out.framing = BODY_LENGTH;
	w->out.left = length;
	h1_in_init(&w->in, w->loop, &w->from.s, &w->bufs, &w->inbuf);
	h1_in_body(&w->in, BODY_LENGTH, length, UINT64_MAX);
	w->in.to = &w->out.sink;
	w->in.fn = on_end;
	return w;
}

static void
end(struct way *w)
{
	h1_in_fini(&w->in);
	h1_out_fini(&w->out);
	buf_unref(w->inbuf);
	bufs_fini(&w->bufs);
	loop_free(w->loop);
	free(w);
}

static void
what_is_behind_the_first_read_goes_with_it(void **state)
{
	struct way *w = begin(1000000, 65536, STREAM_AGAIN, &copied);

	(void)state;
	h1_in_pump(&w->in);
	assert_int_equal(w->to.writes, 1);
	assert_int_equal(w->to.written[0], FIRST + 65536);
	end(w);
}

static void
nothing_behind_holds_nothing_back(void **state)
{
	struct way *w = begin(1000000, 0, STREAM_AGAIN, &copied);

	(void)state;
	h1_in_pump(&w->in);
	assert_int_equal(w->from.reads, 1);
	assert_int_equal(w->to.writes, 1);
	assert_int_equal(w->to.written[0], FIRST);
	assert_int_equal(w->in.state, H1_IN_OPEN);
	end(w);
}

static void
what_came_before_a_failure_is_sent(void **state)
{
	static const ssize_t failures[] = { 0, STREAM_ERROR };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct way *w = begin(1000000, 0, failures[i], &copied);

		h1_in_pump(&w->in);
		assert_int_equal(w->to.writes, 1);
		assert_int_equal(w->to.written[0], FIRST);
		assert_int_equal(w->in.state, H1_IN_FAILED);
		assert_int_equal(w->ends, 1);
		end(w);
	}
}

/* In front of a pipe everything else has to be gone. */
static void
what_a_pipe_may_carry_is_not_waited_for(void **state)
{
	struct way *w = begin(1000000, 65536, STREAM_AGAIN, &piped);

	(void)state;
	h1_in_pump(&w->in);
	assert_int_equal(w->to.writes, 1);
	assert_int_equal(w->to.written[0], FIRST);
	assert_int_equal(w->from.pulls, 1);
	end(w);
}

/* Too little for a pipe: it is read. */
static void
a_short_rest_goes_with_the_first_read(void **state)
{
	struct way *w = begin(FIRST + 4000, 4000, STREAM_AGAIN, &piped);

	(void)state;
	h1_in_pump(&w->in);
	assert_int_equal(w->to.writes, 0); /* its owner flushes with the end */
	assert_int_equal(w->out.queued, FIRST + 4000);
	assert_int_equal(w->in.state, H1_IN_ENDED);
	end(w);
}

static void
tight_memory_gathers_nothing(void **state)
{
	struct way *w = begin(1000000, 65536, STREAM_AGAIN, &copied);

	(void)state;
	bufs_set_limit(&w->bufs, 1);
	h1_in_pump(&w->in);
	assert_int_equal(w->to.written[0], FIRST);
	end(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_behind_the_first_read_goes_with_it),
		cmocka_unit_test(nothing_behind_holds_nothing_back),
		cmocka_unit_test(what_came_before_a_failure_is_sent),
		cmocka_unit_test(what_a_pipe_may_carry_is_not_waited_for),
		cmocka_unit_test(a_short_rest_goes_with_the_first_read),
		cmocka_unit_test(tight_memory_gathers_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
