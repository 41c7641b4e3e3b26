// A program for the board that hands tokens to others like it on its network, numbered and never
// sent again: whatever the network loses or doubles is missed or seen for ever.
//
// At its console: 'h' looks for others, 'g' lets it hand on, 's' stops that, 'p' prints how many
// tokens it has, how many others it knows, and how many numbers were not the next.
//
// Built by (the result is kept beside it, so that no cross compiler is needed to test):
// riscv64-linux-gnu-gcc -march=rv64gc -mabi=lp64d -mcmodel=medany -O2 -ffreestanding -nostdlib \
//   -static -fno-pic -Wl,-Ttext=0x80000000,--build-id=none,-z,norelro,-N,--no-relax -s -o tokens.elf tokens.c
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

#define R8(at) (*(volatile u8 *)(at))
#define R32(at) (*(volatile u32 *)(at))
#define R64(at) (*(volatile u64 *)(at))
#define UART 0x10000000ul
#define PLIC 0x0c000000ul
#define NET 0x10003000ul
#define SIZE 64
#define WINDOW 16
#define FRAME 60

__attribute__((naked, section(".text.entry"))) void _start(void) {
  __asm__("li sp, 0x80300000\n j main\n");
}

struct desc { u64 at; u32 len; u16 flags, next; };
struct queue {
  struct desc desc[SIZE];
  struct { u16 flags, idx, ring[SIZE], event; } avail;
  struct { u16 flags, idx; struct { u32 id, len; } ring[SIZE]; u16 event; } used;
  u16 seen;
} __attribute__((aligned(64)));
struct frame { u8 head[12], to[6], from[6], type[2], kind, pad[5]; u32 number, amount; u8 rest[64]; };
struct peer { u8 mac[6]; u32 sent, acknowledged, next; };

static struct queue rx, tx;
static struct frame in[SIZE], out;
static struct peer peers[8];
static u32 known, wrong, going;
static u64 tokens = 1000, dice = 88172645463325252ul;
static u8 own[6], everybody[6] = {255, 255, 255, 255, 255, 255};

static void put(u8 c) { while (!(R8(UART + 5) & 0x20)); R8(UART) = c; }
static void number(u8 name, u64 v) {
  u8 digits[20];
  int n = 0;
  do { digits[n++] = '0' + v % 10; v /= 10; } while (v);
  put(name);
  while (n) put(digits[--n]);
  put(' ');
}

static void queue_up(int n, struct queue *q) {
  R32(NET + 0x30) = n;
  R32(NET + 0x38) = SIZE;
  R32(NET + 0x80) = (u64)q->desc; R32(NET + 0x84) = (u64)q->desc >> 32;
  R32(NET + 0x90) = (u64)&q->avail; R32(NET + 0x94) = (u64)&q->avail >> 32;
  R32(NET + 0xa0) = (u64)&q->used; R32(NET + 0xa4) = (u64)&q->used >> 32;
  R32(NET + 0x44) = 1;
}
static void offer(int n, struct queue *q, u16 head) {
  *(volatile u16 *)&q->avail.ring[q->avail.idx % SIZE] = head;
  __asm__ volatile("fence" ::: "memory");
  *(volatile u16 *)&q->avail.idx = q->avail.idx + 1;
  __asm__ volatile("fence" ::: "memory");  // the index before the bell
  R32(NET + 0x50) = n;
}

static void send(const u8 *to, u8 kind, u32 count, u32 amount) {
  for (int i = 0; i < 6; i++) { out.to[i] = to[i]; out.from[i] = own[i]; }
  out.type[0] = 0x88; out.type[1] = 0xb5;
  out.kind = kind; out.number = count; out.amount = amount;
  tx.desc[0] = (struct desc){(u64)&out, 12 + FRAME, 0, 0};
  offer(1, &tx, 0);
  while (tx.seen == *(volatile u16 *)&tx.used.idx);
  tx.seen++;
}

static struct peer *find(const u8 *mac) {
  for (u32 at = 0; at < known; at++) {
    int same = 1;
    for (int i = 0; i < 6; i++) same &= peers[at].mac[i] == mac[i];
    if (same) return &peers[at];
  }
  if (known == 8) return 0;
  for (int i = 0; i < 6; i++) peers[known].mac[i] = mac[i];
  return &peers[known++];
}

static void take(const struct frame *f) {
  if (f->type[0] != 0x88 || f->type[1] != 0xb5) return;
  int mine = 1;
  for (int i = 0; i < 6; i++) mine &= f->to[i] == own[i];
  if (!mine && f->kind != 0) return;
  struct peer *peer = find(f->from);
  if (!peer) return;
  if (f->kind == 0) send(peer->mac, 1, 0, 0);
  if (f->kind == 2) {
    if (f->number != peer->next) wrong++;
    peer->next = f->number + 1;
    tokens += f->amount;
    send(peer->mac, 3, peer->next, 0);
  }
  if (f->kind == 3) peer->acknowledged = f->number;
}

static void hand_on(void) {
  dice ^= dice << 13; dice ^= dice >> 7; dice ^= dice << 17;
  struct peer *peer = &peers[(dice >> 33) % known];
  if (peer->sent - peer->acknowledged >= WINDOW || !tokens) return;
  u64 some = 1 + (dice >> 20) % tokens / 4;
  tokens -= some;
  send(peer->mac, 2, peer->sent++, some);
}

void main(void) {
  R32(NET + 0x70) = 0; R32(NET + 0x70) = 3;
  R32(NET + 0x24) = 1; R32(NET + 0x20) = 1;
  R32(NET + 0x24) = 0; R32(NET + 0x20) = 1 << 5;
  R32(NET + 0x70) = 11;
  queue_up(0, &rx); queue_up(1, &tx);
  R32(NET + 0x70) = 15;
  for (int i = 0; i < 6; i++) { own[i] = R8(NET + 0x100 + i); dice += (u64)own[i] << 8 * i; }
  for (int i = 0; i < SIZE; i++) {
    rx.desc[i] = (struct desc){(u64)&in[i], sizeof in[i], 2, 0};
    offer(0, &rx, i);
  }
  // It sleeps until something comes; no handler is ever entered.
  for (u64 id = 1; id < 12; id++) R32(PLIC + 4 * id) = 1;
  R32(PLIC + 0x2000) = 0xfff;
  R8(UART + 2) = 1; R8(UART + 1) = 1;
  __asm__ volatile("csrs mie, %0" ::"r"(0x800ul));
  for (;;) {
    u32 id = R32(PLIC + 0x200004);
    u32 status = R32(NET + 0x60);
    if (status) R32(NET + 0x64) = status;
    while (R8(UART + 5) & 1) {
      u8 c = R8(UART);
      if (c == 'h') send(everybody, 0, 0, 0);
      if (c == 'g') going = 1;
      if (c == 's') going = 0;
      if (c == 'p') { number('t', tokens); number('k', known); number('w', wrong); put('\n'); }
    }
    while (rx.seen != *(volatile u16 *)&rx.used.idx) {
      u16 id = rx.used.ring[rx.seen++ % SIZE].id;
      take(&in[id]);
      offer(0, &rx, id);
    }
    for (int i = 0; i < 8 && going && known; i++) hand_on();
    if (id) R32(PLIC + 0x200004) = id;
    __asm__ volatile("wfi");
  }
}
