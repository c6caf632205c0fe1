from cluster.chaos.command import console

console()
