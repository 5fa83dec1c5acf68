/*
 * mem: arenas hand out aligned pieces that do not overlap, start in the caller's memory, and run
 * their hooks newest first.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcommon/mem.h"

static void
gives_pieces_that_do_not_overlap(void **state)
{
	enum { PIECES = 2000 };
	static unsigned char *pieces[PIECES];
	static size_t sizes[PIECES];
	struct arena a;

	(void)state;
	srand(3);
	arena_init(&a, 0);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < PIECES; i++) {
			sizes[i] = (size_t)rand() % (i % 50 ? 100 : 10000);
			pieces[i] = arena_alloc(&a, sizes[i]);
			assert_int_equal((uintptr_t)pieces[i] % 16, 0);
			if (sizes[i] > 0)
				memset(pieces[i], (int)(i & 0xff), sizes[i]);
		}
		for (unsigned i = 0; i < PIECES; i++)
			for (size_t k = 0; k < sizes[i]; k++)
				assert_int_equal(pieces[i][k], i & 0xff);
		arena_reset(&a);
	}
	arena_fini(&a);
}

/* Whatever the alignment of the first memory: used first, not left, and used again after a reset.
 */
static void
starts_in_the_callers_memory(void **state)
{
	(void)state;
	for (size_t skew = 0; skew < 17; skew++) {
		for (size_t n = 0; n < 100; n++) {
			char *heap = malloc(skew + n + 1);
			char *first = heap + skew;
			size_t lost = (16 - (uintptr_t)first % 16) % 16; /* to alignment */
			struct arena a;

			arena_init_in(&a, first, n, 64);
			for (unsigned round = 0; round < 2; round++) {
				unsigned inside = 0;

				for (unsigned i = 0; i < 10; i++) {
					char *p = arena_alloc(&a, 16);

					assert_int_equal((uintptr_t)p % 16, 0);
					memset(p, 'x', 16);
					inside += p >= first && p + 16 <= first + n;
				}
				assert_int_equal(inside, n > lost ? (n - lost) / 16 : 0);
				arena_reset(&a);
			}
			arena_fini(&a);
			free(heap);
		}
	}
}

/* A piece larger than a block does not cost the rest of the block in use. */
static void
keeps_the_block_beside_a_large_piece(void **state)
{
	struct arena a;

	(void)state;
	arena_init(&a, 256);

	char *one = arena_alloc(&a, 16);
	char *large = arena_alloc(&a, 10000);
	char *two = arena_alloc(&a, 16);

	memset(large, 0, 10000);
	assert_ptr_equal(two, one + 16);
	arena_fini(&a);
}

static void
copies_text(void **state)
{
	struct arena a;

	(void)state;
	arena_init(&a, 64);
	assert_string_equal(arena_strdup(&a, "hello"), "hello");
	assert_string_equal(arena_strndup(&a, "hello", 2), "he");
	assert_string_equal(arena_strndup(&a, NULL, 0), "");
	assert_string_equal(arena_printf(&a, "%d-%0100d", 1, 2) + 98, "0002");

	struct slice s = arena_dup(&a, SLICE("a\0b"));

	assert_int_equal(s.n, 3);
	assert_memory_equal(s.p, "a\0b", 4);

	unsigned char *zeros = arena_calloc(&a, 3, 100);

	for (unsigned i = 0; i < 300; i++)
		assert_int_equal(zeros[i], 0);
	arena_fini(&a);
}

static char order[8];

static void
note(void *arg)
{
	strcat(order, arg);
}

static void
runs_hooks_newest_first_and_once(void **state)
{
	struct arena a;
	char one[] = "1";
	char two[] = "2";
	char three[] = "3";

	(void)state;
	arena_init(&a, 32);
	order[0] = '\0';
	arena_on_free(&a, note, one);
	arena_on_free(&a, note, two);
	arena_on_free(&a, note, three);
	arena_reset(&a);
	assert_string_equal(order, "321");
	arena_on_free(&a, note, one);
	arena_fini(&a);
	assert_string_equal(order, "3211");
}

static void
calloc_wraps(void)
{
	struct arena a;

	arena_init(&a, 0);
	arena_calloc(&a, SIZE_MAX / 2, 3);
}

static void
malloc_too_much(void)
{
	/* Through a volatile, so that the compiler does not know better. */
	volatile size_t n = SIZE_MAX / 2;

	free(xmalloc(n));
}

static void
array_wraps(void)
{
	volatile size_t n = SIZE_MAX / 2;

	free(xreallocarray(NULL, n, 3));
}

/* In a child: does fn end it by SIGABRT? Sanitizers abort too, when they are told to. */
static void
assert_aborts(void (*fn)(void))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		close(STDERR_FILENO);
		signal(SIGABRT, SIG_DFL);
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void
aborts_instead_of_null(void **state)
{
	(void)state;
	assert_aborts(calloc_wraps);
	assert_aborts(malloc_too_much);
	assert_aborts(array_wraps);
}

static void
gives_something_for_nothing(void **state)
{
	void *p = xmalloc(0);
	char *text = xasprintf("%s-%d", "a", 5);
	char *part = xstrndup("hello", 4);
	void *line = xaligned(64, 0);

	(void)state;
	assert_non_null(p);
	p = xrealloc(p, 0);
	assert_non_null(p);
	assert_string_equal(text, "a-5");
	assert_string_equal(part, "hell");
	assert_int_equal((uintptr_t)line % 64, 0);
	free(p);
	free(text);
	free(part);
	free(line);
	p = xcalloc(0, 0);
	assert_non_null(p);
	free(p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_pieces_that_do_not_overlap),
		cmocka_unit_test(starts_in_the_callers_memory),
		cmocka_unit_test(keeps_the_block_beside_a_large_piece),
		cmocka_unit_test(copies_text),
		cmocka_unit_test(runs_hooks_newest_first_and_once),
		cmocka_unit_test(aborts_instead_of_null),
		cmocka_unit_test(gives_something_for_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
