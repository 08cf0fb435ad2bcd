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
#include <sys/prctl.h>
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

/*
 * A session whose code is not ours any more: whatever it asks the kernel for that could reach beyond its descriptors is
 * refused, by seccomp alone as well. Arguments are such that an allowed call would do harm, or at least succeed.
 */
#define P(...) ((long)(intptr_t)(__VA_ARGS__))
static const struct { const char *name; long nr, a[6]; } beyond[] = {
	{ "open", SYS_open, { P("/etc/passwd"), O_RDONLY } },
	{ "creat", SYS_creat, { P("/tmp/landfall-taken"), 0600 } },
	{ "openat, absolute", SYS_openat, { AT_FDCWD, P("/etc/passwd"), O_RDONLY } },
	{ "openat, of a passed folder", SYS_openat, { 200, P("."), O_RDONLY } },
	{ "openat, a file without a name", SYS_openat, { 200, P("."), O_TMPFILE | O_RDWR, 0600 } },
	{ "openat, its own descriptor again", SYS_openat, { AT_FDCWD, P("/proc/self/fd/201"), O_RDWR } },
	{ "openat2", SYS_openat2, { 200, P("."), P((uint64_t[3]){ 0 }), 24 } },
	{ "open_by_handle_at", SYS_open_by_handle_at, { 200, P((int[4]){ 0 }), O_RDONLY } },
	{ "name_to_handle_at", SYS_name_to_handle_at, { 200, P(""), P((int[36]){ 128 }), P((int[1]){ 0 }), AT_EMPTY_PATH } },
	{ "truncate", SYS_truncate, { P("/tmp/landfall-taken"), 0 } },
	{ "chmod", SYS_chmod, { P("/tmp"), 0777 } },
	{ "fchmod", SYS_fchmod, { 201, 0777 } },
	{ "fchmodat", SYS_fchmodat, { AT_FDCWD, P("/tmp"), 0777 } },
	{ "chown", SYS_chown, { P("/tmp"), 0, 0 } },
	{ "fchown", SYS_fchown, { 201, 0, 0 } },
	{ "fchownat", SYS_fchownat, { 201, P(""), 0, 0, AT_EMPTY_PATH } },
	{ "utimensat, by name", SYS_utimensat, { AT_FDCWD, P("/tmp"), 0, 0 } },
	{ "utimensat, by descriptor", SYS_utimensat, { 201, 0, 0, 0 } },
	{ "utimes", SYS_utimes, { P("/tmp"), 0 } },
	{ "rename", SYS_rename, { P("/tmp/landfall-a"), P("/tmp/landfall-b") } },
	{ "renameat", SYS_renameat, { 200, P("a"), 200, P("b") } },
	{ "renameat2", SYS_renameat2, { 200, P("a"), 200, P("b"), 0 } },
	{ "link", SYS_link, { P("/etc/passwd"), P("/tmp/landfall-b") } },
	{ "linkat, of a descriptor", SYS_linkat, { 201, P(""), 200, P("landfall-b"), AT_EMPTY_PATH } },
	{ "symlink", SYS_symlink, { P("/etc/passwd"), P("/tmp/landfall-b") } },
	{ "symlinkat", SYS_symlinkat, { P("/etc/passwd"), 200, P("landfall-b") } },
	{ "unlink", SYS_unlink, { P("/tmp/landfall-a") } },
	{ "unlinkat", SYS_unlinkat, { 200, P("landfall-a"), 0 } },
	{ "mkdir", SYS_mkdir, { P("/tmp/landfall-d"), 0700 } },
	{ "mkdirat", SYS_mkdirat, { 200, P("landfall-d"), 0700 } },
	{ "rmdir", SYS_rmdir, { P("/tmp/landfall-d") } },
	{ "mknod", SYS_mknod, { P("/tmp/landfall-n"), 0010600, 0 } },
	{ "stat", SYS_stat, { P("/etc/passwd"), P((char[256]){ 0 }) } },
	{ "lstat", SYS_lstat, { P("/etc/passwd"), P((char[256]){ 0 }) } },
	{ "newfstatat", SYS_newfstatat, { 200, P("."), P((char[256]){ 0 }), 0 } },
	{ "statx", SYS_statx, { 200, P("."), 0, 0x7ff, P((char[256]){ 0 }) } },
	{ "statfs", SYS_statfs, { P("/"), P((char[256]){ 0 }) } },
	{ "access", SYS_access, { P("/etc/passwd"), 4 } },
	{ "faccessat", SYS_faccessat, { 200, P("."), 4 } },
	{ "readlink", SYS_readlink, { P("/proc/self/exe"), P((char[64]){ 0 }), 64 } },
	{ "getdents64", SYS_getdents64, { 200, P((char[1024]){ 0 }), 1024 } },
	{ "chdir", SYS_chdir, { P("/") } },
	{ "fchdir", SYS_fchdir, { 200 } },
	{ "chroot", SYS_chroot, { P("/tmp") } },
	{ "getxattr", SYS_getxattr, { P("/tmp"), P("user.x"), 0, 0 } },
	{ "setxattr", SYS_setxattr, { P("/tmp"), P("user.x"), P("y"), 1, 0 } },
	{ "fsetxattr", SYS_fsetxattr, { 201, P("user.x"), P("y"), 1, 0 } },
	{ "flistxattr", SYS_flistxattr, { 201, 0, 0 } },
	{ "inotify_init1", SYS_inotify_init1, { 0 } },
	{ "fanotify_init", SYS_fanotify_init, { 0, 0 } },
	{ "kill", SYS_kill, { 1, 0 } },
	{ "kill, all of them", SYS_kill, { -1, 0 } },
	{ "tgkill", SYS_tgkill, { 1, 1, 0 } },
	{ "tkill", SYS_tkill, { 1, 0 } },
	{ "rt_sigqueueinfo", SYS_rt_sigqueueinfo, { 1, 0, P((char[128]){ 0 }) } },
	{ "pidfd_open", SYS_pidfd_open, { 1, 0 } },
	{ "pidfd_send_signal", SYS_pidfd_send_signal, { 201, 0, 0, 0 } },
	{ "pidfd_getfd", SYS_pidfd_getfd, { 201, 0, 0 } },
	{ "ptrace", SYS_ptrace, { 16, 1, 0, 0 } },
	{ "process_vm_readv", SYS_process_vm_readv, { 1, 0, 0, 0, 0, 0 } },
	{ "process_vm_writev", SYS_process_vm_writev, { 1, 0, 0, 0, 0, 0 } },
	{ "prlimit64, of another", SYS_prlimit64, { 1, 7, 0, P((char[16]){ 0 }) } },
	{ "prlimit64, to set", SYS_prlimit64, { 0, 0, P((uint64_t[2]){ 1, 1 }), 0 } },
	{ "socket, inet", SYS_socket, { 2, 1, 0 } },
	{ "socket, unix", SYS_socket, { 1, 1, 0 } },
	{ "socket, netlink", SYS_socket, { 16, 3, 0 } },
	{ "socketpair", SYS_socketpair, { 1, 1, 0, P((int[2]){ 0 }) } },
	{ "connect", SYS_connect, { 202, P((char[16]){ 2 }), 16 } },
	{ "bind", SYS_bind, { 202, P((char[16]){ 2 }), 16 } },
	{ "listen", SYS_listen, { 202, 5 } },
	{ "accept4", SYS_accept4, { 202, 0, 0, 0 } },
	{ "execve", SYS_execve, { P("/bin/true"), 0, 0 } },
	{ "execveat, of a descriptor", SYS_execveat, { 201, P(""), 0, 0, AT_EMPTY_PATH } },
	{ "fork", SYS_fork, { 0 } },
	{ "vfork", SYS_vfork, { 0 } },
	{ "clone, a process", SYS_clone, { SIGCHLD, 0, 0, 0, 0 } },
	{ "clone, a name space", SYS_clone, { 0x10000000 | SIGCHLD, 0, 0, 0, 0 } },
	{ "clone3", SYS_clone3, { P((uint64_t[11]){ 0 }), 88 } },
	{ "unshare", SYS_unshare, { 0x10000000 } },
	{ "setns", SYS_setns, { 201, 0 } },
	{ "mount", SYS_mount, { P("none"), P("/tmp"), P("tmpfs"), 0, 0 } },
	{ "umount2", SYS_umount2, { P("/tmp"), 0 } },
	{ "pivot_root", SYS_pivot_root, { P("/tmp"), P("/tmp") } },
	{ "setuid", SYS_setuid, { 0 } },
	{ "setgroups", SYS_setgroups, { 0, 0 } },
	{ "capset", SYS_capset, { P((uint32_t[2]){ 0x20080522, 0 }), P((uint32_t[6]){ 0 }) } },
	{ "prctl", SYS_prctl, { 4, 1, 0, 0, 0 } },
	{ "seccomp", SYS_seccomp, { 0, 0, 0 } },
	{ "personality", SYS_personality, { 0 } },
	{ "keyctl", SYS_keyctl, { 0, -3, 1 } },
	{ "add_key", SYS_add_key, { P("user"), P("x"), P("y"), 1, -3 } },
	{ "bpf", SYS_bpf, { 0, 0, 0 } },
	{ "perf_event_open", SYS_perf_event_open, { 0, 0, -1, -1, 0 } },
	{ "userfaultfd", SYS_userfaultfd, { 1 } },
	{ "io_uring_setup", SYS_io_uring_setup, { 4, P((char[120]){ 0 }) } },
	{ "io_setup", SYS_io_setup, { 4, P((uint64_t[1]){ 0 }) } },
	{ "shmget", SYS_shmget, { 1, 4096, 01600 } },
	{ "msgget", SYS_msgget, { 1, 01600 } },
	{ "mq_open", SYS_mq_open, { P("x"), O_RDWR | O_CREAT, 0600, 0 } },
	{ "syslog", SYS_syslog, { 3, P((char[64]){ 0 }), 64 } },
	{ "settimeofday", SYS_settimeofday, { 0, 0 } },
	{ "sethostname", SYS_sethostname, { P("x"), 1 } },
	{ "reboot", SYS_reboot, { 0, 0, 0, 0 } },
	{ "fcntl, a lease", SYS_fcntl, { 201, F_SETLEASE, F_RDLCK } },
	{ "fcntl, an owner", SYS_fcntl, { 201, F_SETOWN, 1 } },
	{ "fcntl, a signal", SYS_fcntl, { 201, F_SETSIG, SIGKILL } },
	{ "fcntl, a notice of a folder", SYS_fcntl, { 200, F_NOTIFY, 1 } },
	{ "fcntl, a lock", SYS_fcntl, { 201, F_SETLK, P((char[32]){ 1 }) } },
	{ "flock", SYS_flock, { 201, 2 } },
	{ "ioctl, a terminal's input", SYS_ioctl, { 201, TIOCSTI, P("x") } },
	{ "ioctl, a clone of a file", SYS_ioctl, { 201, 0x40049409, 201 } },
	{ "ioctl, an inode's flags", SYS_ioctl, { 201, 0x80086601, P((long[1]){ 0 }) } },
};

static void
nothing_goes_beyond(void)
{
	for (size_t i = 0; i < sizeof(beyond) / sizeof(beyond[0]); i++) {
		const long *a = beyond[i].a;
		long got = syscall(beyond[i].nr, a[0], a[1], a[2], a[3], a[4], a[5]);

		if (got != -1 || (errno != EPERM && errno != ENOSYS)) {
			printf("# %s: %ld, %s\n", beyond[i].name, got, got == -1 ? strerror(errno) : "went through");
			fflush(stdout);
			_exit(1);
		}
	}
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

/* Without the spawner's part there is no Landlock, as on an old kernel: seccomp alone. */
static bool
lock_up(bool with_landlock)
{
	struct err err = { 0 };
	bool landlock;

	return (with_landlock ? jail_spawner(&landlock, &err) : prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0) && jail_session(&err);
}

static void
claimed(void (*claim)(void), bool with_landlock)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		if (!lock_up(with_landlock))
			_exit(99);
		claim();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("exit %d (a line of this file, modulo 128), signal %d", WEXITSTATUS(status), WTERMSIG(status));
}

static void
locked_up(void (*claim)(void))
{
	claimed(claim, true);
	claimed(claim, false);
}

#define CLAIM(f) static void test_##f(void **state) { (void)state; locked_up(f); }
CLAIM(no_name_opens)
CLAIM(nothing_leaves)
CLAIM(nothing_goes_beyond)
CLAIM(passed_descriptors_work)
CLAIM(threads_begin_and_end)

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
/* i386's getpid, whose number is writev's here; then the x32 interface, whose numbers have a bit of their own. */
static long
old_call(unsigned way)
{
	long got;

	if (way > 0)
		return syscall(way == 1 ? 0x40000000L | SYS_openat : 0x40000000L | SYS_getpid, AT_FDCWD, "/etc/passwd", O_RDONLY) == -1 ? -errno : 1;
	__asm__ volatile("int $0x80" : "=a"(got) : "a"(20L) : "memory", "r8", "r9", "r10", "r11");
	return got;
}
#endif

/* The other ways into the kernel have other numbers than the filter knows: who takes one is ended, or there is none. */
static void
the_old_interfaces_are_shut(void **state)
{
	(void)state;
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
	for (unsigned i = 0; i < 6; i++) {
		pid_t pid = fork();
		int status = 0;

		if (pid == 0) {
			long got;

			signal(SIGSEGV, SIG_DFL); /* the test frame would catch it and go on with the next test, in here */
			if (!lock_up(i % 2 == 1))
				_exit(99);
			got = old_call(i / 2);
			_exit(got == -EPERM || got == -ENOSYS ? 0 : 1);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		/* SIGSEGV: a kernel without the first. */
		if (!(WIFSIGNALED(status) && (WTERMSIG(status) == SIGSYS || WTERMSIG(status) == SIGSEGV)) && status != 0)
			fail_msg("way %u: status %#x", i / 2, (unsigned)status);
	}
#else
	printf("# not tried: another processor, or a sanitiser that takes the signal\n");
#endif
}

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
		cmocka_unit_test(test_no_name_opens), cmocka_unit_test(test_nothing_leaves), cmocka_unit_test(test_nothing_goes_beyond),
		cmocka_unit_test(the_old_interfaces_are_shut), cmocka_unit_test(test_passed_descriptors_work),
		cmocka_unit_test(test_threads_begin_and_end), cmocka_unit_test(the_spawner_still_forks),
	};
	char path[] = "/tmp/landfall-jail-XXXXXX";

	passed = mkstemp(path);
	folder = open("/tmp", O_RDONLY | O_DIRECTORY);
	/* The table's: a folder, a file, a socket. */
	if (dup2(folder, 200) < 0 || dup2(passed, 201) < 0 || dup2(socket(AF_INET, SOCK_STREAM, 0), 202) < 0)
		return 1;
	unlink(path);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
