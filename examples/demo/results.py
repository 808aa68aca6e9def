def table(c): return ''
def write_report(*a): return ''
