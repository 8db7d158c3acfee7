// What there is once in a library of translated kernels.
#include "ptx.h"

long ptx_executed = 0;
double ptx_error = 0;

std::map<std::string, emulation::Translated>& emulation::Translations::all() {
  static std::map<std::string, Translated> kernels;
  return kernels;
}
