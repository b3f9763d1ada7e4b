/*
 * Records, with LD_PRELOAD, what processes do to the files of one folder and what they respond over HTTP, as one sequence:
 * each record is one append to one log, so that the log has the order in which things happened, over all processes.
 *
 *   RECORDER_LOG     the log
 *   RECORDER_FOLDER  the folder, an absolute path without symbolic links
 *
 * A record is a struct head, the path, and the data. A write is recorded before it is begun and again when it has ended: in
 * between, all of it, some of it or nothing may be on disk. recording.ts reads the log.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WRITE = 1, FLUSH = 2, TRUNCATE = 3, END = 4, RESPONSE = 5, CREATE = 6, MAP = 7 };

struct head {
  uint32_t kind;
  /* Whether the write is on disk once it has ended. */
  uint32_t is_synchronous;
  /* The same for a write, flush or truncation and its end. */
  uint64_t operation;
  uint64_t offset;
  int64_t result;
  uint32_t path_length;
  uint32_t data_length;
};

static int log_fd = -1;
static const char *folder;
static size_t folder_length;
static _Atomic uint64_t count;

__attribute__((constructor)) static void begin(void) {
  const char *log = getenv("RECORDER_LOG");
  folder = getenv("RECORDER_FOLDER");
  if (log == NULL || folder == NULL) return;
  folder_length = strlen(folder);
  log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void append(struct head *head, const char *path, const struct iovec *data, int count) {
  struct iovec all[2 + IOV_MAX];
  head->path_length = strlen(path);
  head->data_length = 0;
  all[0] = (struct iovec){head, sizeof *head};
  all[1] = (struct iovec){(void *)path, head->path_length};
  for (int i = 0; i < count; i++) {
    all[2 + i] = data[i];
    head->data_length += data[i].iov_len;
  }
  ssize_t length = sizeof *head + head->path_length + head->data_length;
  if (syscall(SYS_writev, log_fd, all, 2 + count) != length) {
    static const char failure[] = "recorder: the log cannot be written\n";
    syscall(SYS_write, 2, failure, sizeof failure - 1);
    abort();
  }
}

/* Whether the path is in the folder; LMDB's lock files are not part of a crash. */
static int is_followed(const char *path) {
  size_t length = strlen(path);
  if (log_fd < 0 || strncmp(path, folder, folder_length) != 0) return 0;
  return length < 5 || strcmp(path + length - 5, "-lock") != 0;
}

/* The path of a followed file or folder. */
static int path_of(int fd, char path[PATH_MAX]) {
  struct stat stat;
  char link[32];
  if (log_fd < 0 || fstat(fd, &stat) != 0 || !(S_ISREG(stat.st_mode) || S_ISDIR(stat.st_mode))) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, PATH_MAX - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return is_followed(path);
}

/* Records what begins; 0 where nobody follows the file. */
static uint64_t start(uint32_t kind, int fd, uint64_t offset, const struct iovec *data, int n) {
  char path[PATH_MAX];
  if (!path_of(fd, path)) return 0;
  uint64_t operation = ((uint64_t)getpid() << 32) | atomic_fetch_add(&count, 1);
  int flags = fcntl(fd, F_GETFL);
  struct head head = {kind, (flags & O_DSYNC) != 0, operation, offset, 0, 0, 0};
  append(&head, path, data, n);
  return operation;
}

static long end(uint64_t operation, long result) {
  int error = errno;
  if (operation != 0) {
    struct head head = {END, 0, operation, 0, result, 0, 0};
    append(&head, "", NULL, 0);
  }
  errno = error;
  return result;
}

/* A response as it is handed to its socket. What follows its head is not needed. */
static void response(int fd, const struct iovec *data, int n) {
  static const char beginning[] = "HTTP/1.1 ";
  size_t length = sizeof beginning - 1;
  struct stat stat;
  if (log_fd < 0 || n < 1 || data[0].iov_len < length || memcmp(data[0].iov_base, beginning, length) != 0) return;
  if (fstat(fd, &stat) != 0 || !S_ISSOCK(stat.st_mode)) return;
  struct iovec first = {data[0].iov_base, data[0].iov_len < 4096 ? data[0].iov_len : 4096};
  struct head head = {RESPONSE, 0, 0, 0, 0, 0, 0};
  append(&head, "", &first, 1);
}

/* A file or folder has got a name. `from` was its name, or is another one. */
static void created(const char *given, const char *from) {
  int error = errno;
  char path[PATH_MAX];
  if (log_fd >= 0 && realpath(given, path) != NULL && is_followed(path)) {
    struct iovec earlier = {(void *)from, strlen(from)};
    struct head head = {CREATE, 0, 0, 0, 0, 0, 0};
    append(&head, path, &earlier, 1);
  }
  errno = error;
}

ssize_t pwritev(int fd, const struct iovec *data, int n, off_t offset) {
  uint64_t operation = start(WRITE, fd, offset, data, n);
  return end(operation, syscall(SYS_pwritev, fd, data, n, offset, 0));
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
  struct iovec one = {(void *)data, length};
  uint64_t operation = start(WRITE, fd, offset, &one, 1);
  return end(operation, syscall(SYS_pwrite64, fd, data, length, offset));
}

ssize_t writev(int fd, const struct iovec *data, int n) {
  response(fd, data, n);
  uint64_t operation = start(WRITE, fd, lseek(fd, 0, SEEK_CUR), data, n);
  return end(operation, syscall(SYS_writev, fd, data, n));
}

ssize_t write(int fd, const void *data, size_t length) {
  struct iovec one = {(void *)data, length};
  response(fd, &one, 1);
  uint64_t operation = start(WRITE, fd, lseek(fd, 0, SEEK_CUR), &one, 1);
  return end(operation, syscall(SYS_write, fd, data, length));
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
  response(fd, message->msg_iov, (int)message->msg_iovlen);
  return syscall(SYS_sendmsg, fd, message, flags);
}

int fdatasync(int fd) {
  uint64_t operation = start(FLUSH, fd, 0, NULL, 0);
  return (int)end(operation, syscall(SYS_fdatasync, fd));
}

int fsync(int fd) {
  uint64_t operation = start(FLUSH, fd, 0, NULL, 0);
  return (int)end(operation, syscall(SYS_fsync, fd));
}

int ftruncate(int fd, off_t length) {
  uint64_t operation = start(TRUNCATE, fd, length, NULL, 0);
  return (int)end(operation, syscall(SYS_ftruncate, fd, length));
}

/* Bytes that change in a shared mapping are not seen, so that no followed file may have one. */
void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
  char path[PATH_MAX];
  if (fd >= 0 && (flags & MAP_SHARED) && (protection & PROT_WRITE) && path_of(fd, path)) {
    struct head head = {MAP, 0, 0, 0, 0, 0, 0};
    append(&head, path, NULL, 0);
  }
  return (void *)syscall(SYS_mmap, address, length, protection, flags, fd, offset);
}

int mkdir(const char *path, mode_t mode) {
  int result = (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
  if (result == 0) created(path, "");
  return result;
}

int rename(const char *from, const char *to) {
  int result = (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
  if (result == 0) created(to, from);
  return result;
}

int link(const char *from, const char *to) {
  int result = (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
  if (result == 0) created(to, from);
  return result;
}

/* On 64-bit systems off_t and off64_t are one type. */
ssize_t pwritev64(int, const struct iovec *, int, off_t) __attribute__((alias("pwritev")));
ssize_t pwrite64(int, const void *, size_t, off_t) __attribute__((alias("pwrite")));
int ftruncate64(int, off_t) __attribute__((alias("ftruncate")));
void *mmap64(void *, size_t, int, int, int, off_t) __attribute__((alias("mmap")));
