#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "receiver/jail.h"

/* Each claim runs in a child that locks itself up as a session does; its exit code is the line that was wrong. */

#define MUST(x) do { if (!(x)) _exit(__LINE__ & 0x7F ? __LINE__ & 0x7F : 1); } while (0)

static int passed, folder;

static void
no_name_opens(void)
{
	struct stat st;

	MUST(open("/etc/passwd", O_RDONLY) < 0);
	MUST(openat(folder, "x", O_RDWR | O_CREAT, 0600) < 0);
	MUST(openat(folder, ".", O_RDONLY) < 0);
	MUST(syscall(SYS_openat2, folder, "x", NULL, 0) < 0);
	MUST(stat("/etc/passwd", &st) != 0);
	MUST(unlink("/tmp/landfall-none") != 0 && errno == EPERM);
	MUST(rename("/tmp/a", "/tmp/b") != 0 && errno == EPERM);
	MUST(link("/tmp/a", "/tmp/b") != 0 && errno == EPERM);
	MUST(chdir("/") != 0);
}

static void
nothing_leaves(void)
{
	char none[] = "x", *argv[] = { none, NULL };
	struct rlimit limit = { 1, 1 };

	MUST(socket(AF_INET, SOCK_STREAM, 0) < 0);
	MUST(socket(AF_UNIX, SOCK_DGRAM, 0) < 0);
	MUST(kill(getppid(), 0) != 0);
	MUST(fork() < 0 && errno == EPERM);
	MUST(execve("/bin/true", argv, argv) != 0);
	MUST(fcntl(passed, F_SETLEASE, F_RDLCK) != 0 && errno == EPERM);
	MUST(fcntl(passed, F_SETOWN, 1) != 0 && errno == EPERM);
	MUST(ioctl(passed, TIOCSTI, "x") != 0 && errno == EPERM);
	MUST(syscall(SYS_ptrace, 16, getppid(), 0, 0) != 0);
	MUST(prlimit(1, RLIMIT_NOFILE, &limit, NULL) != 0 && errno == EPERM);
	MUST(setrlimit(RLIMIT_CPU, &limit) != 0);
}

static void
passed_descriptors_work(void)
{
	struct stat st;
	char buf[4];
	void *p;
	int fd;

	MUST(pwrite(passed, "abcd", 4, 100) == 4);
	MUST(pread(passed, buf, 4, 100) == 4 && memcmp(buf, "abcd", 4) == 0);
	MUST(ftruncate(passed, 50) == 0 && fsync(passed) == 0 && fdatasync(passed) == 0);
	MUST(sync_file_range(passed, 0, 50, SYNC_FILE_RANGE_WRITE) == 0);
	MUST(syscall(SYS_fstat, passed, &st) == 0 && st.st_size == 50);
	MUST(lseek(passed, 0, SEEK_END) == 50);
	fd = memfd_create("facts", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	MUST(fd >= 0 && write(fd, "{}", 2) == 2 && fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == 0);
	p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	MUST(p != MAP_FAILED && munmap(p, 1 << 20) == 0);
	MUST(close(fd) == 0);
}

static void *
run(void *x)
{
	return x;
}

static void
threads_begin_and_end(void)
{
	pthread_t t;
	void *got = NULL;

	MUST(pthread_create(&t, NULL, run, &passed) == 0);
	MUST(pthread_join(t, &got) == 0 && got == &passed);
}

static void
locked_up(void (*claim)(void))
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		struct err err = { 0 };
		bool landlock;

		if (!jail_spawner(&landlock, &err) || !jail_session(&err))
			_exit(99);
		claim();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("exit %d (a line of this file, modulo 128), signal %d", WEXITSTATUS(status), WTERMSIG(status));
}

#define CLAIM(f) static void test_##f(void **state) { (void)state; locked_up(f); }
CLAIM(no_name_opens)
CLAIM(nothing_leaves)
CLAIM(passed_descriptors_work)
CLAIM(threads_begin_and_end)

static void
the_spawner_still_forks(void **state)
{
	pid_t pid = fork();
	int status = 0;

	(void)state;
	if (pid == 0) {
		struct err err = { 0 };
		bool landlock;
		pid_t child;

		MUST(jail_spawner(&landlock, &err));
		child = fork();
		if (child == 0)
			_exit(jail_session(&err) ? 7 : 8);
		MUST(child > 0 && syscall(SYS_pidfd_open, child, 0) >= 0);
		MUST(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 7);
		MUST(open("/etc/passwd", O_RDONLY) < 0);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_name_opens), cmocka_unit_test(test_nothing_leaves), cmocka_unit_test(test_passed_descriptors_work),
		cmocka_unit_test(test_threads_begin_and_end), cmocka_unit_test(the_spawner_still_forks),
	};
	char path[] = "/tmp/landfall-jail-XXXXXX";

	passed = mkstemp(path);
	folder = open("/tmp", O_RDONLY | O_DIRECTORY);
	unlink(path);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
