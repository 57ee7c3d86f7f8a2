# Installation rules: libweir, headers, CMake package and pkg-config file.
