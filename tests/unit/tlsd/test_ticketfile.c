/*
 * ticketfile: the schedule of shared keys, their bytes, and who may read the file. Time is given,
 * not waited for.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "libcommon/mem.h"
#include "tlsd/ticketfile.h"

#define HOUR  ((int64_t)3600000)
#define START (1700000000 * (int64_t)1000)

static struct ticket_book
book_at(int64_t now_ms)
{
	struct ticket_book b = { .n = 0 };

	assert_int_equal(ticket_book_advance(&b, now_ms, HOUR), 1);
	return b;
}

static bool
has(const struct ticket_book *b, const struct ticket_key *k)
{
	for (size_t i = 0; i < b->n; i++)
		if (memcmp(&b->v[i].key, k, sizeof(*k)) == 0)
			return true;
	return false;
}

static void
next_is_known_before_its_time(void **state)
{
	struct ticket_book b = book_at(START);
	struct ticket_key first = b.v[0].key;
	struct ticket_key next = b.v[1].key;

	(void)state;
	assert_int_equal(b.n, 2);
	assert_int_equal(ticket_book_current(&b, START), 0);
	assert_int_equal(ticket_book_wait_ms(&b, START), HOUR);
	assert_memory_not_equal(&first, &next, sizeof(first));
	/* nothing to do until then, and what was known seals */
	assert_int_equal(ticket_book_advance(&b, START + HOUR - 1, HOUR), 0);
	assert_int_equal(ticket_book_advance(&b, START + HOUR, HOUR), 1);
	assert_int_equal(b.n, 3);
	assert_int_equal(ticket_book_current(&b, START + HOUR), 1);
	assert_memory_equal(&b.v[1].key, &next, sizeof(next));
	assert_memory_equal(&b.v[0].key, &first, sizeof(first));
	assert_int_equal(ticket_book_wait_ms(&b, START + HOUR), HOUR);
	/* two periods after its time began the first one is gone */
	assert_int_equal(ticket_book_advance(&b, START + 2 * HOUR, HOUR), 1);
	assert_false(has(&b, &first));
	assert_true(has(&b, &next));
}

static void
clocks_that_jump(void **state)
{
	struct ticket_book b = book_at(START);
	struct ticket_key first = b.v[0].key;
	struct ticket_key next = b.v[1].key;

	(void)state;
	/* asleep for a period and a half: the next one is in force by itself */
	assert_int_equal(ticket_book_advance(&b, START + HOUR + HOUR / 2, HOUR), 1);
	assert_int_equal(ticket_book_current(&b, START + HOUR + HOUR / 2), 1);
	assert_true(has(&b, &first));
	/* asleep for ten: all are gone */
	assert_int_equal(ticket_book_advance(&b, START + 10 * HOUR, HOUR), 1);
	assert_false(has(&b, &first));
	assert_false(has(&b, &next));
	assert_int_equal(b.n, 2);
	assert_int_equal(b.v[0].from_ms, START + 10 * HOUR);
	/* set back by a year: those of the future are no keys of ours */
	assert_int_equal(ticket_book_advance(&b, START, HOUR), 1);
	assert_int_equal(b.n, 2);
	assert_int_equal(b.v[0].from_ms, START);
	/* a shorter period does not grow the book */
	for (int64_t t = 0; t < 50; t++) {
		assert_int_not_equal(ticket_book_advance(&b, START + t * 1000, 1000 + t), -1);
		assert_true(b.n <= TICKET_KEYS_MAX);
		assert_true(ticket_book_current(&b, START + t * 1000) < b.n);
		assert_true(ticket_book_wait_ms(&b, START + t * 1000) > 0);
	}
}

static void
bytes_and_back(void **state)
{
	struct ticket_book b = book_at(START);
	struct ticket_book back;
	uint8_t bytes[TICKETFILE_BYTES];
	size_t n = ticket_book_encode(&b, bytes);

	(void)state;
	assert_int_equal(ticket_book_decode(&back, bytes, n), 0);
	assert_int_equal(back.n, b.n);
	for (size_t i = 0; i < b.n; i++) {
		assert_int_equal(back.v[i].from_ms, b.v[i].from_ms);
		assert_memory_equal(&back.v[i].key, &b.v[i].key, sizeof(b.v[i].key));
	}
	for (size_t i = 0; i < n; i++) { /* cut, and with one bit changed */
		uint8_t *copy = xmalloc(n);

		memcpy(copy, bytes, n);
		copy[i] ^= 1;
		assert_int_equal(ticket_book_decode(&back, copy, n), -1);
		free(copy);
		copy = xmalloc(i > 0 ? i : 1);
		memcpy(copy, bytes, i);
		assert_int_equal(ticket_book_decode(&back, copy, i), -1);
		free(copy);
	}
}

static char folder[] = "/tmp/ticketfile.XXXXXX";
static char keys[64];

static int
make_folder(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/ticketfile.XXXXXX");
	snprintf(keys, sizeof(keys), "%s/keys", mkdtemp(folder));
	return 0;
}

static int
drop_folder(void **state)
{
	char lock[64];

	(void)state;
	snprintf(lock, sizeof(lock), "%s/lock", folder);
	unlink(keys);
	unlink(lock);
	return rmdir(folder);
}

static void
all_have_the_same(void **state)
{
	struct ticket_book mine;
	struct err err;
	int failed = 0;

	(void)state;
	/* several begin at once: one makes the keys, the others find them */
	for (int i = 0; i < 8; i++)
		if (fork() == 0) {
			struct ticket_book b;

			_exit(ticketfile_turn(folder, START, HOUR, &b, &err) < 0);
		}
	assert_int_equal(ticketfile_turn(folder, START, HOUR, &mine, &err), 0);
	for (int i = 0; i < 8; i++) {
		int code;

		wait(&code);
		failed += code != 0;
	}
	assert_int_equal(failed, 0);

	struct ticket_book again;
	struct stat st;

	assert_int_equal(ticketfile_turn(folder, START + 5, HOUR, &again, &err), 0);
	assert_int_equal(again.n, 2);
	assert_memory_equal(&again.v[0].key, &mine.v[0].key, sizeof(mine.v[0].key));
	assert_int_equal(stat(keys, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void
others_may_not_read(void **state)
{
	struct ticket_book b;
	struct err err;
	char link[80];

	(void)state;
	snprintf(link, sizeof(link), "%s.link", folder);
	assert_int_equal(ticketfile_turn(folder, START, HOUR, &b, &err), 0);
	assert_int_equal(chmod(keys, 0640), 0);
	assert_int_equal(ticketfile_turn(folder, START, HOUR, &b, &err), -1);
	assert_non_null(strstr(err.text, "others may read it"));
	unlink(keys);
	assert_int_equal(symlink("/etc/passwd", keys), 0);
	assert_int_equal(ticketfile_turn(folder, START, HOUR, &b, &err), -1);
	unlink(keys);
	assert_int_equal(ticketfile_turn("/nowhere", START, HOUR, &b, &err), -1);
	assert_int_equal(chmod(folder, 0770), 0);
	assert_int_equal(ticketfile_turn(folder, START, HOUR, &b, &err), -1);
	assert_non_null(strstr(err.text, "others may write there"));
	assert_int_equal(chmod(folder, 0700), 0);
	assert_int_equal(symlink(folder, link), 0);
	assert_int_equal(ticketfile_turn(link, START, HOUR, &b, &err), -1);
	unlink(link);
	if (geteuid() == 0) {
		assert_int_equal(chown(folder, 65534, (gid_t)-1), 0);
		assert_int_equal(ticketfile_turn(folder, START, HOUR, &b, &err), -1);
		assert_int_equal(chown(folder, 0, (gid_t)-1), 0);
	}
	assert_int_equal(ticketfile_turn(folder, START, HOUR, &b, &err), 0);
}

static void
garbled_is_begun_anew(void **state)
{
	struct ticket_book b;
	struct err err;
	FILE *f = fopen(keys, "w");

	(void)state;
	assert_non_null(f);
	fputs("weir-tickets-1\nrubbish", f);
	fclose(f);
	chmod(keys, 0600);
	assert_int_equal(ticketfile_turn(folder, START, HOUR, &b, &err), 0);
	assert_int_equal(b.n, 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(next_is_known_before_its_time),
		cmocka_unit_test(clocks_that_jump),
		cmocka_unit_test(bytes_and_back),
		cmocka_unit_test_setup_teardown(all_have_the_same, make_folder, drop_folder),
		cmocka_unit_test_setup_teardown(others_may_not_read, make_folder, drop_folder),
		cmocka_unit_test_setup_teardown(garbled_is_begun_anew, make_folder, drop_folder),
	};

	return cmocka_run_group_tests_name("ticketfile", tests, NULL, NULL);
}
