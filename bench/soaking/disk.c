/* Stands before the C library: files under $SOAK_OUT (the card) and $SOAK_RAM (the RAM disk) fail
   with the errno that the first two words of $SOAK_PAGE say, or wait for so many ms if negative. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static volatile int *page;
static const char *out, *ram;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("SOAK_PAGE");
    out = getenv("SOAK_OUT");
    ram = getenv("SOAK_RAM");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0 || !out || !ram) return;
    void *seen = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    if (seen != MAP_FAILED) page = seen;
    close(fd);
}

static int refuses(const char *path) {
    int ill = 0;
    if (!strncmp(path, out, strlen(out))) ill = page[0];
    else if (!strncmp(path, ram, strlen(ram))) ill = page[1];
    if (ill < 0) usleep(-1000 * ill);
    if (ill <= 0) return 0;
    errno = ill;
    return 1;
}

static int well(void) { return !page || (!page[0] && !page[1]); }

static int fails(int fd) {
    char link[64], path[4096];
    if (well()) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return refuses(path);
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = dlsym(RTLD_NEXT, #name)

/* A full disk takes a part first: the caller must live with a short write. */
static size_t part(int failed, size_t size) { return failed && errno == ENOSPC ? size / 2 : 0; }

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    int failed = fails(fd);
    return failed ? -1 : real(fd, data, size);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    REAL(pwrite);
    int failed = fails(fd);
    size_t some = part(failed, size);
    if (some > 64) return real(fd, data, some, at);
    return failed ? -1 : real(fd, data, size, at);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    REAL(pwrite64);
    int failed = fails(fd);
    size_t some = part(failed, size);
    if (some > 64) return real(fd, data, some, at);
    return failed ? -1 : real(fd, data, size, at);
}
int fsync(int fd) { REAL(fsync); return fails(fd) ? -1 : real(fd); }
int fdatasync(int fd) { REAL(fdatasync); return fails(fd) ? -1 : real(fd); }
int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    return !well() && refuses(path) ? -1 : real(path, mode);
}
static int makes(const char *path, int flags) {
    return !well() && flags & O_CREAT && access(path, F_OK) && refuses(path);
}
#define OPEN(name) int name(const char *path, int flags, ...) { \
    REAL(name); va_list more; va_start(more, flags); \
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0; va_end(more); \
    return makes(path, flags) ? -1 : real(path, flags, mode); }
OPEN(open)
OPEN(open64)
