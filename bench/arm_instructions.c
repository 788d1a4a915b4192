/* A plugin of qemu-user that counts a guest's instructions between marks.
 *
 *     cc -shared -fPIC -o libinstructions.so bench/arm_instructions.c
 *     qemu-aarch64 -plugin ./libinstructions.so -d plugin -D counts.txt PROGRAM
 *
 * The program makes a mark with getpriority(77, number), which no kernel knows and which changes
 * nothing; each writes "mark NUMBER INSTRUCTIONS" to the log. One counter serves all threads, so
 * only a program that computes in one thread is counted right.
 *
 * Debian ships qemu with plugins but without their header: what is used of qemu-plugin.h is
 * declared here, as of the interface's version 1 (qemu 4.2 to 8.2).
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };

void qemu_plugin_register_vcpu_tb_trans_cb(
    qemu_plugin_id_t id, void (*translated)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(
    struct qemu_plugin_tb *block, enum qemu_plugin_op operation, void *counter, uint64_t by);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
void qemu_plugin_register_vcpu_syscall_cb(
    qemu_plugin_id_t id,
    void (*called)(
        qemu_plugin_id_t, unsigned int, int64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
        uint64_t, uint64_t, uint64_t));
void qemu_plugin_outs(const char *text);

/* qemu looks for this name, and refuses the plugin unless it knows the version. */
__attribute__((visibility("default"))) int qemu_plugin_version = 1;

enum { GETPRIORITY_ON_AARCH64 = 141, MARK = 77 };

static uint64_t instructions;

/* Counted by blocks, for speed: a block that a signal or a fault cuts short counts as whole. */
static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *block) {
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_inline(
        block, QEMU_PLUGIN_INLINE_ADD_U64, &instructions, qemu_plugin_tb_n_insns(block));
}

static void called(
    qemu_plugin_id_t id, unsigned int processor, int64_t number, uint64_t a1, uint64_t a2,
    uint64_t a3, uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8) {
    (void)id, (void)processor, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
    if (number != GETPRIORITY_ON_AARCH64 || a1 != MARK) {
        return;
    }
    char line[80];
    snprintf(line, sizeof line, "mark %" PRIu64 " %" PRIu64 "\n", a2, instructions);
    qemu_plugin_outs(line);
}

__attribute__((visibility("default"))) int qemu_plugin_install(
    qemu_plugin_id_t id, const void *info, int argc, char **argv) {
    (void)info, (void)argc, (void)argv;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    return 0;
}
