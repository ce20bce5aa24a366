/// The version of the programs.
public enum ServerVersion {
    public static let current = "0.1.0"
}
