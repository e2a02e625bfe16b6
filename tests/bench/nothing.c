/* The handler of the launch benchmark: static, starts, ends. What remains is the launch. */
int main(void) {
  return 0;
}
