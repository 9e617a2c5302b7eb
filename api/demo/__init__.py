"""The demo: a simulated trading day, its report on the screen, then the console."""
