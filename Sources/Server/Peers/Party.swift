internal import Foundation
internal import Keyspace
internal import Wire

extension Party {
    init(_ wire: Flotilla_V1_Party) {
        self.init(clusterID: wire.clusterID.array, gid: GroupID(wire.gid), identity: wire.identity.array)
    }

    var wire: Flotilla_V1_Party {
        var wire = Flotilla_V1_Party()
        wire.clusterID = Data(clusterID)
        wire.gid = gid.rawValue
        wire.identity = Data(identity)
        return wire
    }
}
