bool print_sum(const char* path);

int main(int, char** argv) { return print_sum(argv[1]) ? 0 : 1; }
