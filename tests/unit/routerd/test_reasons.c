/* reasons: words are counted apart, by their letters; when the table is full the rest is "other".
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "routerd/reasons.h"

static struct reasons r;

struct seen {
	const char *word;
	uint64_t count;
	unsigned words;
	uint64_t sum;
};

static void
look(void *arg, const char *word, uint64_t count)
{
	struct seen *s = arg;

	s->words++;
	s->sum += count;
	if (strcmp(word, s->word) == 0)
		s->count += count;
}

static struct seen
seen(const char *word)
{
	struct seen s = { .word = word };

	reasons_each(&r, look, &s);
	return s;
}

static void
same_letters_are_one_word(void **state)
{
	char copy[] = "no_route";

	(void)state;
	memset(&r, 0, sizeof(r));
	reasons_count(&r, "no_route");
	reasons_count(&r, copy);
	reasons_count(&r, "client_left");
	assert_int_equal(seen("no_route").count, 2);
	assert_int_equal(seen("client_left").count, 1);
	assert_int_equal(seen("bad_host").count, 0);
	assert_int_equal(seen("other").words, 2);
}

static void
a_full_table_counts_the_rest_as_other(void **state)
{
	static char words[REASONS_MAX + 44][16];

	(void)state;
	memset(&r, 0, sizeof(r));
	for (unsigned i = 0; i < REASONS_MAX + 44; i++) {
		snprintf(words[i], sizeof(words[i]), "word_%u", i);
		reasons_count(&r, words[i]);
	}
	assert_int_equal(seen("other").count, 45);
	assert_int_equal(seen("other").sum, REASONS_MAX + 44);
	/* Words that have their place keep it. */
	reasons_count(&r, "word_0");
	assert_int_equal(seen("word_0").count, 2);
	assert_int_equal(seen("other").count, 45);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_letters_are_one_word),
		cmocka_unit_test(a_full_table_counts_the_rest_as_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
