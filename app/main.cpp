#include "app/cli.h"

int main(int argc, char** argv) { return zoo::app::main(argc, argv); }
