#include "app/cli.h"
#include "app/machine.h"

int main(int argc, char** argv) {
  zoo::app::keep_freed_memory();
  return zoo::app::main(argc, argv);
}
