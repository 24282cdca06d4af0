// `zoo completion SHELL`: a completion script made from the verbs and options of this very program.
#pragma once
#include "app/cli.h"

namespace zoo::app {

Verb completion_verb();

}  // namespace zoo::app
