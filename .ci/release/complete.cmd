@rem kubectl asks this program, by its name, what could come next on the command line.
@"%~dp0kubectl-trace_svc.exe" __complete %*
