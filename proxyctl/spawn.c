/*
 * spawn: see the header.
 */
#include "proxyctl/spawn.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcommon/mem.h"

static void
forget_handlers(void)
{
	for (int signo = 1; signo < NSIG; signo++) {
		struct sigaction sa;

		if (sigaction(signo, NULL, &sa) == 0 && sa.sa_handler != SIG_DFL &&
			sa.sa_handler != SIG_IGN)
			signal(signo, SIG_DFL);
	}
}

pid_t
spawn_fork(void)
{
	sigset_t all;
	sigset_t before;
	pid_t pid;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (pid == 0) {
		forget_handlers();
		return 0;
	}

	int saved = errno;

	sigprocmask(SIG_SETMASK, &before, NULL);
	errno = saved;
	return pid;
}

void
spawn_unblock(void)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Between fork and exec: only what is safe there. */
static void
become_child(char **argv, const struct instancecfg *env, const struct fdstore *store,
	const struct fdstore_pass *pass, int own[FDSTORE_OWN], pid_t parent)
{
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(1);
	signal(SIGPIPE, SIG_DFL);
	/* What is sent to all may reach one that has no handler yet: it would die of it. */
	signal(SIGHUP, SIG_IGN);
	signal(SIGUSR1, SIG_IGN);
	spawn_unblock();
	if (env != NULL)
		(void)site_set_env(env); /* what it gives back is never needed */
	if (!fdstore_pass_child(pass, store, own))
		_exit(1);
	execvp(argv[0], argv);
	_exit(127);
}

/* At the end of its words, in the place of those of the time before. */
static void
set_options(char **argv, int first_fd)
{
	size_t n = 0;

	while (argv[n] != NULL && strcmp(argv[n], "-r") != 0)
		n++;
	for (size_t i = n; argv[i] != NULL; i++)
		free(argv[i]);
	argv[n++] = xstrdup("-r");
	argv[n++] = xasprintf("%d", first_fd);
	argv[n++] = xstrdup("-C");
	argv[n++] = xasprintf("%d", first_fd + 1);
	argv[n] = NULL;
}

pid_t
spawn(char **argv, const struct instancecfg *env, const struct fdstore *store, int text_fd,
	int *words_fd)
{
	int fds[2];
	struct fdstore_pass pass;
	pid_t parent = getpid();
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		return -1;
	set_options(argv, fdstore_own_number(store));
	fdstore_pass_init(&pass, store);
	pid = spawn_fork();
	if (pid == 0)
		become_child(
			argv, env, store, &pass, (int[FDSTORE_OWN]){ fds[1], text_fd }, parent);

	int saved = errno;

	fdstore_pass_fini(&pass);
	close(fds[1]);
	if (pid < 0)
		close(fds[0]);
	else
		*words_fd = fds[0];
	errno = saved;
	return pid;
}
